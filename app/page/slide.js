/** The kernel sliding over a picture: one place after the other is opened, four a second. */

import { go } from "./address.js";
import { h, prefersReducedMotion } from "./dom.js";
import { narrow } from "./map_view.js";
import { on } from "./state.js";

const PLACE_MS = 250; // that each place is shown, after it has arrived
const keyOf = ({ layer, channel }) => `${layer}:${channel}`;

let sliding = null; // the channel over whose picture the kernel slides
let timer = 0;

on("place", ({ mode, at }) => { if (sliding && (mode !== "look" || !at || keyOf(at) !== sliding)) stop(); });
document.addEventListener("pointerdown", ({ target }) => { if (!target.closest("[data-slide]")) stop(); });

function stop() {
  sliding = null;
  clearTimeout(timer);
  for (const button of document.querySelectorAll("[data-slide]")) label(button, false);
}

/** Write on the button what it does; on a phone there is room for a sign only. */
function label(button, isSliding) {
  const [sign, text] = isSliding ? ["■", "Stop"] : ["▷", "Slide the kernel"];
  button.textContent = narrow.matches ? sign : `${sign} ${text}`;
  button.setAttribute("aria-label", text);
}

/**
 * Return the button that starts and stops the kernel, or null with reduced motion. If the kernel slides over the
 * opened channel, go on to the next place.
 *
 * @param {object} layer The opened layer; its values have rows and columns.
 * @param {{layer: string, channel: number, y: number|null, x: number|null}} at What is opened.
 */
export function slideTool(layer, at) {
  if (prefersReducedMotion() || layer.output_shape.length !== 3) return null;
  const isSliding = sliding === keyOf(at);
  if (isSliding) goOn(layer, at);
  const button = h("button", { type: "button", data: { slide: "" }, on: { click() {
    if (sliding) { stop(); return; }
    sliding = keyOf(at);
    label(button, true);
    goOn(layer, at.y === null ? { ...at, y: 0, x: -1 } : at);
  } } });
  label(button, isSliding);
  return button;
}

function goOn(layer, at) {
  const [rows, columns] = layer.output_shape;
  const next = (at.y * columns + at.x + 1) % (rows * columns);
  clearTimeout(timer);
  timer = setTimeout(() => go({ at: { ...at, y: Math.floor(next / columns), x: next % columns } }, { replace: at.x >= 0 }), PLACE_MS); // the channel keeps its entry of the history
}
