/** "This is wrong": corrects the answer, where the service keeps corrections. Loaded when it is chosen. */

import { answerIds, request, send } from "./api.js";
import { aDigit, byId, fill, h, pngUrl } from "./dom.js";
import { loadStyle } from "./panel.js";
import { emit, on, state } from "./state.js";

const NOT_A_DIGIT = "not-a-digit"; // the service's label for a picture of no class
const TITLE = "correction-title"; // id of the dialog's heading
const inWords = (label) => (label === NOT_A_DIGIT ? "not a digit" : aDigit(label));

let shown = null; // what a correction is about: { source, image, model, classes, answer }
let kept = null; // the correction of it that the service keeps: { id, label }
let isSending = false;
let isStarted = false;

/** Correct the answer, or take the last correction of it back: what the button below the answer does. */
export async function correct() {
  start();
  await loadStyle();
  if (isSending || !shown || byId(TITLE)) return;
  if (kept) undo();
  else choose();
}

function start() {
  if (isStarted) return;
  isStarted = true;
  on("revision", take);
  for (const event of ["changed", "blank", "unread"]) on(event, () => { shown = null; show(); });
  take();
}

/** Take what is shown now as what the next correction is about. */
function take() {
  const { source, prepared, network, model, rested } = state;
  shown = rested ? { source, image: prepared.image, model, classes: network.classes, answer: answerIds.preprocess } : null;
  kept = null;
  show();
}

function show() {
  const button = byId("wrong");
  button.disabled = !shown;
  button.setAttribute("aria-disabled", String(isSending || !shown)); // a button that is disabled loses the focus
  fill(button, kept ? `Take back: ${inWords(kept.label)}` : "This is wrong");
}

/** Ask for the right label, and send it. */
function choose() {
  const about = shown;
  const choice = (name) => h("button", { value: name }, name);
  const dialog = h("dialog.dialog.correction", { aria: { labelledby: TITLE } }, h("form", { method: "dialog" },
    h("h2", { id: TITLE }, "What is it?"),
    h("p", h("img", { src: pngUrl(about.image), alt: "The picture that the network received" }), "The service keeps this picture, its answer and what you choose, to learn from them."),
    h("div.choices", about.classes.map(choice)),
    h("p.row", h("button", { value: NOT_A_DIGIT }, "Not a digit"), " ", h("button", { value: "" }, "Cancel"))));
  dialog.addEventListener("keydown", ({ key }) => { if (about.classes.includes(key)) dialog.close(key); });
  dialog.addEventListener("close", () => {
    dialog.remove();
    byId("wrong").focus();
    if (dialog.returnValue) run(() => keep(about, dialog.returnValue));
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Send a correction. The picture is sent again, because the service keeps none. */
async function keep(about, label) {
  const { source, model, answer } = about;
  const { id } = await send("feedback", { model, label, request_id: answer }, undefined, source.original);
  if (shown === about) kept = { id, label };
  emit("done", `Thank you. The service keeps this picture as ${inWords(label)}.`);
}

function undo() {
  const { id } = kept;
  run(async () => {
    await request(`feedback/${id}`, { method: "DELETE" });
    if (kept?.id === id) kept = null;
    emit("done", "The service has deleted the correction.");
  });
}

/** Do one thing at a time, and show why it fails. */
async function run(work) {
  isSending = true;
  show();
  try {
    await work();
  } catch (error) {
    emit("error", error);
  } finally {
    isSending = false;
    show();
  }
}
