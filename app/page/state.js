/** The state that the parts of the page share, and the events that announce changes. */

/**
 * - models: the entries of `/models`
 * - fallback: name of the default model
 * - model: name of the chosen model
 * - network: the chosen model's response of `/models/{model}/layers`
 * - source: the image that was recognised: `{ body: Blob | {pixels}, picture: ImageBitmap }`
 * - prepared: the response of `/preprocess` for the source; its `pixels` are the 28x28
 * - small: the 28x28 as an ImageBitmap
 * - prediction: the last prediction
 * - revision: a counter that grows when the image or the model changes, so that older results are out of date
 */
export const state = {
  models: [], fallback: null, model: null, network: null,
  source: null, prepared: null, small: null, prediction: null, revision: 0,
};

/** HTTP status of a service that is overloaded, and the time in ms until the page retries. */
export const SERVICE_UNAVAILABLE = 503;
export const RETRY_DELAY_MS = 1500;

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

/** Start a new revision: all results for the previous image or model are out of date. */
export function startRevision() {
  state.revision += 1;
  emit("revision", state.revision);
}

// Measured on each call: an IntersectionObserver's last entry may be older than the current layout.
function inView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}

/** Call `load` once, when a section is less than 600 pixels below the view. */
export function loadWhenNear(section, load) {
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    load().catch((error) => emit("error", error));
  }, { rootMargin: "600px" });
  observer.observe(section);
}

/**
 * Run `work` whenever the element is in view and shows an older revision than the current one.
 *
 * @param {HTMLElement} element
 * @param {(signal: AbortSignal) => Promise<void>} work Fetches and shows; aborted by the next revision or network.
 * @returns {{refresh: () => void}} `refresh` runs `work` again for the same revision, after a control has changed.
 */
export function updateWhenVisible(element, work) {
  let shownRevision = -1;
  let controller = null;
  async function check() {
    if (shownRevision === state.revision || !state.prepared || !state.network || !inView(element)) return;
    controller?.abort();
    controller = new AbortController();
    const ownController = controller;
    const revision = state.revision;
    shownRevision = revision;
    element.setAttribute("aria-busy", "true");
    try {
      await work(ownController.signal);
      if (controller === ownController) element.dataset.revision = revision;
    } catch (error) {
      if (error.name === "AbortError") return;
      emit("error", error);
      shownRevision = -1;
      if (error.status === SERVICE_UNAVAILABLE) setTimeout(check, RETRY_DELAY_MS);
    } finally {
      if (controller === ownController) element.removeAttribute("aria-busy");
    }
  }
  new IntersectionObserver(check).observe(element);
  on("revision", check);
  on("network", () => {
    controller?.abort(); // its response would be about the previous network
    controller = null;
    check();
  });
  return { refresh() { shownRevision = -1; check(); } };
}
