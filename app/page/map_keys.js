/**
 * The map by keyboard: headings are one tab stop with ← and →; ↓ enters a grid with a single living cell.
 *
 * Arrows go on into the next column. Digits and then Enter jump to a channel. These keys work only with focus in the map.
 */

import { rangeOf, sidesOf } from "./channels.js";
import { announce, byId, h, number, position } from "./dom.js";
import { cornerOf, channelAt } from "./map_layout.js";
import { map, openChannel, openColumn, rectangleOf, valuesOf } from "./map_view.js";
import { emit, on, state } from "./state.js";

const TYPING_MS = 1500; // after which typed digits are forgotten

const cursor = { column: 0, channel: 0 };
let typed = "";
let typedAt = 0;

/** Start the keys. */
export function startMapKeys() {
  byId("map-heads").addEventListener("keydown", onHeadKey);
  const grid = byId("map-grid");
  grid.addEventListener("keydown", onGridKey);
  grid.addEventListener("focus", () => point());
  grid.addEventListener("blur", () => emit("point", null));
  on("arranged", () => { Object.assign(cursor, { column: Math.min(cursor.column, map.columns.length - 1) }); });
}

const heads = () => [...byId("map-heads").querySelectorAll("li:not([hidden]) button")];

function onHeadKey(event) {
  const all = heads();
  const at = all.indexOf(document.activeElement);
  const to = { ArrowLeft: at - 1, "[": at - 1, ArrowRight: at + 1, "]": at + 1, Home: 0, End: all.length - 1 }[event.key];
  if (to !== undefined && all[to]) {
    event.preventDefault();
    focusHead(all, to);
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    Object.assign(cursor, { column: Number(all[at].dataset.column), channel: 0 });
    byId("map-grid").focus();
  }
}

function focusHead(all, to) {
  all.forEach((button, at) => { button.tabIndex = at === to ? 0 : -1; });
  all[to].focus();
}

function onGridKey(event) {
  const column = map.columns[cursor.column];
  const { key } = event;
  if (/^\d$/.test(key)) {
    typed = (performance.now() - typedAt < TYPING_MS ? typed : "") + key;
    typedAt = performance.now();
    announce(typed);
  } else if (key === "Enter" && typed && performance.now() - typedAt < TYPING_MS) {
    moveTo(column, Math.min(Number(typed), lastChannel(column)));
    typed = "";
  } else if (key === "Enter" || key === " ") openChannel(column, cursor.channel);
  else if (key === "Escape") leave();
  else if (key === "[" || key === "]") neighbour(key === "[" ? -1 : 1);
  else if (!moveByArrow(key, column)) return;
  event.preventDefault();
  event.stopPropagation();
}

const lastChannel = (column) => (column.role === "outputs" ? state.network.classes.length : column.channels) - 1;

function leave() {
  const all = heads();
  focusHead(all, Math.max(0, all.findIndex((button) => Number(button.dataset.column) === cursor.column)));
}

function neighbour(by) {
  const column = nextColumn(map.columns[cursor.column], by);
  if (column) moveTo(column, Math.min(cursor.channel, lastChannel(column)));
}

/** Return the next column with pictures, before or after a column. */
function nextColumn({ index }, by) {
  for (let at = index + by; at >= 0 && at < map.columns.length; at += by) {
    if (map.layout.boxes[at] && rectangleOf(map.columns[at], 0)) return map.columns[at];
  }
  return null;
}

function moveByArrow(key, column) {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key] ?? [];
  if (key === "Home" || key === "End") return moveTo(column, key === "Home" ? 0 : lastChannel(column));
  if (dx === undefined) return false;
  const inside = channelBeside(column, dx, dy);
  if (inside !== null) return moveTo(column, inside);
  const isRows = map.layout.flow === "rows";
  const along = isRows ? dy : dx;
  if (along) {
    const next = nextColumn(column, along);
    if (next) return moveTo(next, nearestChannel(next, rectangleOf(column, cursor.channel), along));
  }
  if (dy < 0) leave();
  return true;
}

/** Return the channel next to the cursor's in its column, or null at the edge. */
function channelBeside(column, dx, dy) {
  if (column.role === "outputs") {
    const next = cursor.channel + dy;
    return dx === 0 && next >= 0 && next <= lastChannel(column) ? next : null;
  }
  const box = map.layout.boxes[column.index];
  const { x, y } = cornerOf(map.layout, box, cursor.channel);
  return channelAt(map.layout, box, column.channels, x + dx * (box.across + box.gap), y + dy * (box.down + box.gap));
}

/** Return the channel of a column whose picture is nearest to a rectangle, on the side from which the cursor comes. */
function nearestChannel(column, from, along) {
  let best = 0;
  let least = Infinity;
  for (let channel = 0; channel <= lastChannel(column); channel += 1) {
    const box = rectangleOf(column, channel);
    const [beside, off] = map.layout.flow === "rows"
      ? [along * box.y, Math.abs(box.x - from.x)] : [along * box.x, Math.abs(box.y + box.height / 2 - from.y - from.height / 2)];
    const distance = 1000 * beside + off;
    if (distance < least) [best, least] = [channel, distance];
  }
  return best;
}

function moveTo(column, channel) {
  Object.assign(cursor, { column: column.index, channel });
  point();
  return true;
}

/** Put the living cell on the cursor's picture, and point at it. */
function point() {
  const column = map.columns[cursor.column];
  const box = column && rectangleOf(column, cursor.channel);
  const cell = byId("map-cell");
  if (!box) return;
  cell.style.left = `${box.x}px`;
  cell.style.top = `${box.y}px`;
  cell.style.width = `${box.width}px`;
  cell.style.height = `${box.height}px`;
  const { lines = lastChannel(column) + 1 } = map.layout.boxes[column.index];
  const [along, line] = [cursor.channel % lines, Math.floor(cursor.channel / lines)];
  const [row, place] = map.layout.flow === "rows" ? [line, along] : [along, line];
  byId("map-row").setAttribute("aria-rowindex", row + 1);
  cell.setAttribute("aria-colindex", place + 1);
  cell.replaceChildren(h("span.visually-hidden", `${column.title}: ${describeChannel(column, cursor.channel)}`));
  cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  emit("point", { column, channel: cursor.channel });
}

/** Write a value of the map: only the ends of a layer's range are exact, others are rounded to 1/255 of it. */
export function valueText({ low, high }, value) {
  const isExact = [low, high].some((end) => Math.abs(value - end) <= 1e-6 * (high - low));
  return `${isExact ? "" : "about "}${number(value, 3)}`;
}

/** Return a channel's figures: number, range and the place of its largest value. */
export function channelFigures(column, channel) {
  const layer = valuesOf(column);
  if (!layer) return null;
  const [rows, columns] = sidesOf(layer);
  const { low, high, at } = rangeOf(layer, channel);
  return { layer, size: rows * columns, low, high, y: Math.floor(at / columns), x: at % columns };
}

/** Say what a picture of the map shows. */
export function describeChannel(column, channel) {
  if (column.role === "outputs") return `${state.network.classes[channel]}, ${number(100 * (state.prediction?.probabilities[channel] ?? 0), 3)} %`;
  const noun = column.shape.length === 1 ? "Unit" : "Channel";
  const start = `${noun} ${channel} of ${column.channels}${map.meaning ? `, ${map.meaning}` : ""}`;
  const figures = channelFigures(column, channel);
  if (!figures) return start;
  const high = valueText(figures.layer, figures.high);
  if (figures.size === 1) return `${start}, ${high}`;
  if (figures.layer.constant.includes(channel)) return `${start}, ${high} everywhere`;
  return `${start}, largest ${high} at ${position(figures.y, figures.x)}`;
}
