/** The API key: asked for when the service wants one, and kept for this tab only. */

import { byId } from "./dom.js";

const NAME = "digitscope-api-key"; // in the tab's session storage
let key = read();
let asking = null; // the promise of the open dialog

function read() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null; // the browser allows no storage: the key lasts until the page is left
  }
}

function keep(value) {
  key = value;
  try {
    sessionStorage.setItem(NAME, value);
  } catch {
    // as in `read`
  }
}

/** Return the key that requests carry, or null. */
export const apiKey = () => key;

/**
 * Ask for a key, unless another request has got one since.
 *
 * @param {string | null} refused The key that the service has refused.
 * @returns {Promise<boolean>} Whether there is another key to try.
 */
export async function askForKey(refused) {
  if (key !== refused) return true;
  asking ??= openDialog(refused !== null).finally(() => { asking = null; });
  return asking;
}

function openDialog(isWrong) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-refused").hidden = !isWrong;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const isGiven = dialog.returnValue === "use";
      if (isGiven) keep(input.value);
      input.value = "";
      resolve(isGiven);
    }, { once: true });
  });
}
