/** What the parts of the page share, and how they listener of changes. */

/**
 * - source: what is read: `{ body: Blob | {pixels}, picture: ImageBitmap }`
 * - prepared: the answer of `/preprocess` for it; its `pixels` are the 28x28, `small` a picture of them
 * - answer: the last prediction
 * - revision: grows whenever what was asked before is out of date
 */
export const state = {
  models: [], fallback: null, model: null, network: null,
  source: null, prepared: null, small: null, answer: null, revision: 0,
};

/** The status of a service that has too much to do, and when to ask it again. */
export const SERVICE_UNAVAILABLE = 503;
export const RETRY_DELAY_MS = 1500;

const events = new EventTarget();

/** Call a function whenever something is told. */
export const on = (name, listener) => events.addEventListener(name, (event) => listener(event.detail));

/** Call a function with the network, now if there is one and whenever another is chosen. */
export function onNetwork(listener) {
  if (state.network) listener(state.network);
  on("network", listener);
}

/** Tell all who listen. */
export const emit = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail }));

/** Make everything that was derived from image and model out of date. */
export function startRevision() {
  state.revision += 1;
  emit("revision", state.revision);
}

// Measured, because an observer's last word may be from before the page grew.
function inView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top < innerHeight && bottom > 0;
}

/** Load a part of the page shortly before its section comes into view. */
export function loadWhenNear(section, load) {
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    load().catch((error) => emit("error", error));
  }, { rootMargin: "600px" });
  observer.observe(section);
}

/**
 * Run some work whenever its element is in view and shows something out of date.
 *
 * @param {HTMLElement} element
 * @param {(signal: AbortSignal) => Promise<void>} work Aborted when the next revision or network comes.
 * @returns {{refresh: () => void}} To run it again though nothing has changed elsewhere.
 */
export function updateWhenVisible(element, work) {
  let done = -1;
  let running = null;
  async function check() {
    if (done === state.revision || !state.prepared || !state.network || !inView(element)) return;
    running?.abort();
    running = new AbortController();
    const mine = running;
    const revision = state.revision;
    done = revision;
    element.setAttribute("aria-busy", "true");
    try {
      await work(mine.signal);
      if (running === mine) element.dataset.revision = revision;
    } catch (error) {
      if (error.name === "AbortError") return;
      emit("error", error);
      done = -1;
      if (error.status === SERVICE_UNAVAILABLE) setTimeout(check, RETRY_DELAY_MS);
    } finally {
      if (running === mine) element.removeAttribute("aria-busy");
    }
  }
  new IntersectionObserver(check).observe(element);
  on("revision", check);
  on("network", () => {
    running?.abort(); // what comes now would be of the network before
    running = null;
    check();
  });
  return { refresh() { done = -1; check(); } };
}
