/** What the parts of the page share, and how they hear of changes. */

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

const events = new EventTarget();

/** Call a function whenever something is told. */
export const on = (name, hear) => events.addEventListener(name, (event) => hear(event.detail));

/** Tell all who listen. */
export const tell = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail }));

/** Make everything that was derived from image and model out of date. */
export function outdate() {
  state.revision += 1;
  tell("revision", state.revision);
}

/**
 * Run some work whenever its element is in view and shows something out of date.
 *
 * @param {HTMLElement} element
 * @param {(signal: AbortSignal) => Promise<void>} work Aborted when the next revision comes.
 * @returns {{refresh: () => void}} To run it again though nothing has changed elsewhere.
 */
export function live(element, work) {
  let done = -1;
  let visible = false;
  let running = null;
  async function check() {
    if (!visible || done === state.revision || !state.prepared) return;
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
      tell("error", error);
      done = -1;
    } finally {
      if (running === mine) element.removeAttribute("aria-busy");
    }
  }
  new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    check();
  }).observe(element);
  on("revision", check);
  return { refresh() { done = -1; check(); } };
}
