/** The dialog that asks for an API key when the service wants one. */

import { apiKey, keepKey } from "./api.js";
import { byId } from "./dom.js";

let asking = null; // the promise of the open dialog

/**
 * Ask for a key, unless another request has got one since.
 *
 * @param {string | null} refused The key that the service has refused.
 * @returns {Promise<boolean>} Whether there is another key to try.
 */
export async function askForKey(refused) {
  if (apiKey() !== refused) return true;
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
      if (isGiven) keepKey(input.value);
      input.value = "";
      resolve(isGiven);
    }, { once: true });
  });
}
