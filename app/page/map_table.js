/** The map as a table: the same figures and the same openings, without pictures. */

import { byId, disclosure, fill, h, position, table } from "./dom.js";
import { shapeText } from "./columns.js";
import { channelFigures, valueText } from "./map_keys.js";
import { map, openChannel, openColumn, valuesOf } from "./map_view.js";
import { on } from "./state.js";

/** Start the table; it follows each new answer. */
export function startMapTable() {
  on("painted", show);
  on("columns", show);
  on("place", show);
  show();
}

/** Fill the table if it is shown. */
function show() {
  const place = byId("map-table");
  if (place.hidden) return;
  const open = new Set([...place.querySelectorAll("details[open]")].map(({ dataset }) => dataset.column));
  fill(place, map.columns.filter(({ shown }) => shown).map((column) => {
    const details = disclosure(`${column.title}: ${shapeText(column)}`, () => channels(column));
    details.dataset.column = column.index;
    if (open.has(String(column.index))) details.open = true;
    return h("div", details);
  }));
}

function channels(column) {
  const whole = h("p", h("button.link", { type: "button", on: { click: () => openColumn(column) } }, `Open ${column.title}`));
  if (column.role === "outputs" || !valuesOf(column)) return [whole];
  const rows = Array.from({ length: column.channels }, (_, channel) => {
    const { layer, low, high, y, x, size } = channelFigures(column, channel);
    const open = h("button.link", { type: "button", aria: { label: `Open ${column.title}, ${channel}` }, on: { click: () => openChannel(column, channel) } }, channel);
    return size === 1 ? [open, valueText(layer, high)] : [open, valueText(layer, low), valueText(layer, high), position(y, x)];
  });
  return [whole, table(`${column.title}: ${map.meaning ? `${map.meaning}, ` : ""}every ${column.shape.length === 1 ? "unit" : "channel"}`, column.shape.length === 1 ? ["unit", "value"] : ["channel", "smallest", "largest", "at"], rows)];
}
