/** The focus when the panel's content is replaced, and the button that enlarges the sheet of a phone. */

import { place } from "./address.js";
import { columnOf } from "./columns.js";
import { byId, h } from "./dom.js";
import { map } from "./map_view.js";

let focused = null; // the name of the control that had the focus when the panel's content was replaced
let lastLayer = null; // that was opened

const nameOf = (element) => element.getAttribute("aria-label")?.split(":")[0] ?? element.textContent;

/** Remember what has the focus in the panel, because its content will be replaced. */
export function note() {
  lastLayer = place.at?.layer ?? lastLayer;
  if (byId("panel").contains(document.activeElement)) focused = nameOf(document.activeElement);
}

/**
 * If the focus was lost with the panel's old content, give it to the same control, to the heading, or to the map.
 *
 * @param {boolean} [isLast] Whether the new content is complete.
 * @param {HTMLElement|null} [first] What gets it rather than the same control.
 */
export function settle(isLast = false, first = null) {
  const active = document.activeElement ?? document.body;
  const isLost = active === document.body || !active.checkVisibility() || active.closest("[inert]"); // the last two lose it soon
  if (focused !== null && isLost) {
    const controls = [...byId("panel").querySelectorAll("button, select, [role=grid], summary")];
    const same = controls.find((element) => element.checkVisibility() && nameOf(element) === focused);
    (first ?? same ?? (place.at || place.mode !== "look" ? byId("panel-title") : placeOnMap()))?.focus({ preventScroll: true });
  }
  if (isLast) focused = null;
}

/** Return the heading of the column that was opened last, or of the first one; or the first member of an ensemble. */
function placeOnMap() {
  const column = lastLayer && columnOf(map.columns, lastLayer);
  const heads = [...byId("map").querySelectorAll(".head, .lane-list button, summary")].filter((element) => element.checkVisibility());
  return heads.find(({ dataset }) => column && Number(dataset.column) === column.index) ?? heads[0];
}

/** Return the button that enlarges the sheet of a phone, and makes it smaller again. */
export function grow() {
  const button = h("button", { type: "button", aria: { label: "Enlarge" }, on: { click() {
    document.body.toggleAttribute("data-tall");
    show();
  } } });
  const show = () => {
    const isTall = document.body.hasAttribute("data-tall");
    button.textContent = isTall ? "▾" : "▴";
    button.setAttribute("aria-pressed", String(isTall));
  };
  show();
  return button;
}
