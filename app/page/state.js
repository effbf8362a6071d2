/** The state that the parts of the page share, and the events that announce changes. */

import { h } from "./dom.js";

/**
 * - models: the entries of `/models`
 * - fallback: name of the default model
 * - model: name of the chosen model
 * - network: the chosen model's response of `/models/{model}/layers`
 * - source: the image that was recognised: `{ body, picture, original, file, isPart }`. `body` is the 28x28, which all
 *   later requests send; `original` is what was sent, a reduced `file` or a drawing; `picture` is its ImageBitmap;
 *   `isPart` says that it is one of several digits of the surface
 * - prepared: the response of `/preprocess` for the source; its `pixels` are the 28x28
 * - small: the 28x28 as an ImageBitmap
 * - prediction: the last prediction
 * - shownLayers: names of the layers that the map shows
 * - map: the decoded values of the map (see `map_format`), or null
 * - reading: `answered`, or why the answer does not belong to what is on the surface: `reading` (on its way), `offline`
 *   or `busy` (asked again by itself), `failed` (the user may try again)
 * - progress: what is done with a photo that is being read, such as `Sending 240 of 310 kB`, or null
 * - rested: whether the revision is of what is on the surface; not while the pen moves
 * - late: whether what is shown has been out of date for more than 120 ms
 * - page: the digits of an image that shows several (see `several`), or null
 * - revision: a counter that grows when the image or the model changes, so that older results are out of date
 */
export const state = {
  models: [], fallback: null, model: null, network: null,
  source: null, prepared: null, small: null, prediction: null, shownLayers: [], map: null,
  reading: "reading", progress: null, rested: false, late: false, page: null, revision: 0,
};

export const RETRY_DELAY_MS = 1500; // until an overloaded service is asked again

/** Return whether an error says that the service is overloaded, or that it was asked too often. */
export const isBusy = (error) => error.status === 503 || error.status === 429;

const events = new EventTarget();

/** Call `listener` with the event's detail whenever `emit` sends an event of this name. */
export const on = (name, listener) => events.addEventListener(name, (event) => listener(event.detail));

/** Call `listener` with the network: now, if there is one, and whenever another is chosen. */
export function onNetwork(listener) {
  if (state.network) listener(state.network);
  on("network", listener);
}

/** Send an event to all listeners of this name. */
export const emit = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail }));

/** Set one field of the state and send the event of the same name, if the value is another. */
export function change(name, value) {
  if (state[name] === value) return;
  state[name] = value;
  emit(name, value);
}

/** Say that what is on the surface, or the network, has changed: no result belongs to it yet. */
export function markChanged() {
  state.rested = false;
  emit("changed");
}

/** Start a new revision: all results for the previous image or model are out of date. */
export function startRevision() {
  state.revision += 1;
  state.rested = true;
  emit("revision", state.revision);
}

// Measured on each call: an IntersectionObserver's last entry may be older than the current layout.
function inView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}

/** Say in a part that it has failed, and offer to try again. What it shows stays, dimmed. */
function showFailure(element, error, again) {
  element.querySelector(":scope > .part-failed")?.remove();
  const note = h("p.part-failed", { role: "alert" }, error.status ? error.message : "This part did not arrive.", " ",
    h("button", { type: "button", on: { click: () => { note.remove(); again(); } } }, "Try again"));
  element.prepend(note);
}

on("back", () => document.querySelectorAll(".part-failed button").forEach((button) => button.click()));

/**
 * Run `work` whenever the element is in view and shows an older revision than the current one.
 *
 * From a change of the image until its result is there, the element has `aria-busy`. If `work` fails, the element says
 * so and offers to try again.
 *
 * @param {HTMLElement} element
 * @param {(signal: AbortSignal) => Promise<void>} work Fetches and shows; aborted by the next revision or network.
 * @returns {{refresh: () => void}} `refresh` runs `work` again for the same revision, after a control has changed.
 */
export function updateWhenVisible(element, work) {
  let shownRevision = -1;
  let controller = null;
  const markBusy = () => element.setAttribute("aria-busy", "true");
  async function check() {
    if (shownRevision === state.revision || !state.prepared || !state.network || !inView(element)) return;
    controller?.abort();
    controller = new AbortController();
    const ownController = controller;
    const revision = state.revision;
    shownRevision = revision;
    markBusy();
    try {
      await work(ownController.signal);
      if (controller !== ownController) return;
      element.querySelector(":scope > .part-failed")?.remove();
      element.dataset.revision = revision;
      if (state.rested) element.removeAttribute("aria-busy");
    } catch (error) {
      if (error.name === "AbortError" || controller !== ownController) return;
      shownRevision = -1;
      if (isBusy(error)) setTimeout(check, RETRY_DELAY_MS);
      else showFailure(element, error, check);
    }
  }
  new IntersectionObserver(check).observe(element);
  on("revision", check);
  on("changed", markBusy);
  on("network", () => {
    controller?.abort(); // its response would be about the previous network
    controller = null;
    check();
  });
  return { refresh() { shownRevision = -1; check(); } };
}
