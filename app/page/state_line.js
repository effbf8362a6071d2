/** The line that says whether the answer belongs to what is on the surface, and what is done with a photo. */

import { byId, fill } from "./dom.js";
import { emit, on, state } from "./state.js";

const TEXTS = {
  answered: "Up to date",
  reading: "Reading…",
  offline: "No connection. Your drawing is safe.",
  busy: "The service is busy. Trying again.",
  failed: "The answer did not arrive.",
};

/** Start the line. `again` reads the surface once more. */
export function startStateLine(again) {
  const action = byId("state-action");
  const show = () => {
    byId("state-line").dataset.state = state.reading;
    byId("answer").setAttribute("aria-busy", String(state.reading !== "answered"));
    fill(byId("state-text"), state.progress ?? TEXTS[state.reading]);
    action.hidden = !state.progress && state.reading !== "failed";
    fill(action, state.progress ? "Cancel" : "Try again");
  };
  action.addEventListener("click", () => (state.progress ? emit("cancel") : again()));
  on("reading", show);
  on("progress", show);
  on("late", (late) => document.documentElement.toggleAttribute("data-late", late));
  show();
}
