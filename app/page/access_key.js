/** The dialog that asks for an API key when the service wants one. */

import { apiKey, keepKey } from "./api.js";
import { byId, h } from "./dom.js";

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

function makeDialog() {
  const pattern = "[!-~]([ -~]*[!-~])?";
  const dialog = h("dialog.dialog", { id: "key-dialog", aria: { labelledby: "key-title" } }, h("form", { method: "dialog" },
    h("h2", { id: "key-title" }, "API key"),
    h("p", "This service answers only requests with an API key. The key stays in this tab and is forgotten when you close it."),
    h("p.notes", { id: "key-refused", role: "alert", hidden: true }, "The service has refused this key."),
    h("p", h("label", "Key ", h("input", { type: "password", id: "key", name: "key", autocomplete: "off", required: true, pattern, title: "Letters, digits and signs of ASCII" }))),
    h("p.row", h("button.small", { value: "use" }, "Use this key"), " ", h("button.small", { value: "", formNoValidate: true }, "Cancel"))));
  document.body.append(dialog);
  return dialog;
}

function openDialog(isWrong) {
  const dialog = byId("key-dialog") ?? makeDialog();
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
