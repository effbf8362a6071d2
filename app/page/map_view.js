/** The map of the network: a column of channel pictures for each block, painted from the newest answer. */

import { go, place } from "./address.js";
import { onColourScheme } from "./colours.js";
import { columnOf, columnsOf, memberColumns, memberOf, membersOf, shapeText } from "./columns.js";
import { byId, fill, h } from "./dom.js";
import { MapCanvas } from "./map_canvas.js";
import { channelAt, cornerOf, layOut } from "./map_layout.js";
import { emit, on, onNetwork, state } from "./state.js";

const OUTPUTS_WIDTH = 158; // CSS pixels
const AHEAD = 200; // CSS pixels beside the view in which columns are read too
const MAX_VALUES = 4_000_000; // that an answer may hold, half of the service's limit; further columns stay empty
const HEAD_DISTANCE = 4; // CSS pixels between two headings
const MAX_ROW = 20; // CSS pixels: rows of many outputs are lower than this, and their type is smaller
const SMALL = 24; // CSS pixels: on touch, smaller pictures open their column first
const SVG = "http://www.w3.org/2000/svg";

/**
 * What the map shows: the columns of the network or of one member, all members of an ensemble, the opened member, the
 * layout, the lines of what is opened (see `map_lines`), how values are changed before they are shown, or null, what
 * the changed values are, such as `gradient`, and what is pointed at, or null; and whether each picture has a colour
 * scale of its own.
 */
export const map = { columns: [], members: [], lane: null, layout: null, terms: null, transform: null, meaning: null, pointed: null, byPicture: false };

/** Whether the window is an upright phone's: the panel is a sheet. */
export const narrow = matchMedia("(max-width: 559px), (max-width: 699px) and (min-height: 501px)");

/** Whether the map flows down: then the outputs stand below the answer. */
const flowsDown = matchMedia("(max-width: 1199px)");
const TABLET_HEIGHT = 680; // CSS pixels that the map may take where it flows down and the panel is no sheet

let painter = null;
let frame = 0; // of the next painting

/** Start the map. */
export function startMap() {
  painter = new MapCanvas(byId("map-canvas"));
  const body = byId("map-body");
  on("point", (hit) => { map.pointed = hit; });
  body.addEventListener("pointermove", (event) => event.pointerType !== "touch" && emit("point", hitAt(event)));
  body.addEventListener("pointerleave", () => emit("point", null));
  body.addEventListener("click", (event) => openHit(hitAt(event), event.pointerType === "touch"));
  onNetwork(showNetwork);
  on("map", paintSoon);
  on("revision", paintSoon); // for the input of a network without a layer that prepares it
  on("place", followPlace);
  onColourScheme(paintSoon);
  byId("map-scroll").addEventListener("scroll", readVisible, { passive: true });
  new ResizeObserver(arrange).observe(byId("map-scroll"));
  for (const query of [narrow, flowsDown]) query.addEventListener("change", arrange);
  byId("bars").addEventListener("click", ({ target }) => {
    const row = target.closest("li");
    if (row && flowsDown.matches) openChannel(map.columns.at(-1), [...row.parentElement.children].indexOf(row));
  });
}

/** Show a network that was chosen, or another member of an ensemble. */
function showNetwork() {
  const all = columnsOf(state.network);
  const members = membersOf(all);
  const lane = laneOf(place);
  const member = members.find(({ name }) => name === lane);
  Object.assign(map, { members, lane: member ? lane : null, columns: member ? memberColumns(member) : all });
  const isLanes = members.length > 0 && !member;
  byId("map").dataset.lanes = String(isLanes);
  showForm();
  fill(byId("map-heads"), map.columns.map(head));
  arrange();
  emit("columns", map);
}

/** Show pictures, lanes, or the table. */
function showForm() {
  const isLanes = byId("map").dataset.lanes === "true";
  byId("map-lanes").hidden = !isLanes || place.asTable;
  byId("map-body").hidden = isLanes || place.asTable;
  byId("map-table").hidden = !place.asTable;
  byId("as-table").setAttribute("aria-pressed", String(place.asTable));
}

/** Return the member of the ensemble that a place opens. */
const laneOf = ({ lane, at }) => lane ?? (at && memberOf(at.layer));

function followPlace(to) {
  showForm();
  if (map.members.length && (laneOf(to) ?? null) !== map.lane) showNetwork();
  else markOpened();
}

function head(column) {
  const name = column.role === "outputs" ? column.shown.name : (column.shown?.name ?? null);
  return h("li", { data: { column: column.index } },
    h("button.head", { type: "button", tabindex: column.index ? "-1" : "0", data: { column: column.index }, on: {
      click: () => name && go({ at: { layer: name, channel: null, y: null, x: null } }),
      focus: () => emit("point", { column, channel: null }),
      blur: () => emit("point", null),
    } }, h("b", column.title), " ", h("span", shapeText(column))));
}

/** Place heads and pictures for the size of the window. */
function arrange() {
  if (!map.columns.length) return;
  const scroll = byId("map-scroll");
  const isRows = flowsDown.matches;
  const room = { width: scroll.clientWidth, height: narrow.matches ? Math.max(320, innerHeight - 320) : isRows ? Math.min(TABLET_HEIGHT, 1.5 * innerHeight) : scroll.clientHeight, flow: isRows ? "rows" : "columns", outputs: OUTPUTS_WIDTH };
  if (!room.width || (!isRows && room.height < 60)) return;
  const key = `${room.width} ${room.height} ${narrow.matches} ${room.flow} ${devicePixelRatio}`;
  if (map.layout?.key === key && map.layout.columns === map.columns) return;
  map.layout = { ...layOut(map.columns, room), key, columns: map.columns };
  const { boxes, width, height, head: headHeight } = map.layout;
  const body = byId("map-body");
  body.style.width = `${width}px`;
  body.style.height = `${height}px`;
  const lines = byId("map-lines");
  lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
  lines.setAttribute("width", width);
  lines.setAttribute("height", height);
  for (const item of byId("map-heads").children) {
    const box = boxes[Number(item.dataset.column)];
    item.hidden = !box;
    if (!box) continue;
    item.style.left = `${box.x}px`;
    item.style.top = `${isRows ? box.y - headHeight : 0}px`;
    const next = isRows ? null : boxes.find((other) => other && other.x > box.x);
    item.style.maxWidth = next ? `${next.x - box.x - HEAD_DISTANCE}px` : "";
  }
  placeOutputs(boxes.at(-1), isRows);
  fill(byId("map-arrows"), isRows ? [] : map.columns.flatMap(({ inputs, index }) => (inputs.includes(index - 1) ? [arrow(boxes[index], height)] : [])));
  if (byId("map").dataset.lanes === "false") painter.setLayout(map.columns, map.layout, devicePixelRatio);
  readVisible();
  paintSoon();
  markOpened();
  emit("arranged", map);
}

/** Return the small arrow before a column that reads the one to its left. */
const arrow = ({ x }, height) => svg("path", { class: "arrow", d: `M${x - 10} ${(height + 38) / 2 - 5}l5 5l-5 5` });

/** Put the outputs at the end of the map, or below the answer where the map flows down. */
function placeOutputs(box, isRows) {
  const bars = byId("bars");
  const isLanes = map.members.length > 0 && !map.lane;
  const home = byId(isRows ? "answer" : isLanes ? "map-lanes" : "map-body");
  if (bars.parentElement !== home) home.append(bars);
  bars.style.left = box && !isRows && !isLanes ? `${box.x}px` : "";
  if (narrow.matches) byId("links").append(byId("map-links"));
  else byId("readout").after(byId("map-links"));
  const row = (map.layout.height - map.layout.head) / state.network.classes.length;
  bars.style.fontSize = !isRows && row < MAX_ROW ? `${Math.floor(0.7 * row)}px` : "";
  bars.style.height = isRows ? "" : `${map.layout.height - map.layout.head}px`;
}

/** Set the layers that the next answer must hold: those of columns in view. */
function readVisible() {
  const names = map.members.length && !map.lane ? map.members.map(({ last }) => last.name) : visibleLayers();
  if (names.join() === state.shownLayers.join()) return;
  state.shownLayers = names;
  emit("shown", names);
}

function visibleLayers() {
  const { scrollLeft, clientWidth } = byId("map-scroll");
  let values = 0;
  return map.columns.filter(({ shown, role, shape, index }) => {
    const box = map.layout?.boxes[index];
    const isVisible = shown && role !== "outputs" && box && box.x + box.slot > scrollLeft - AHEAD && box.x < scrollLeft + clientWidth + AHEAD;
    if (isVisible) values += shape.reduce((product, side) => product * side, 1);
    return isVisible && values <= MAX_VALUES;
  }).map(({ shown }) => shown.name);
}

/** Return the values that the map shows in a column, or null: those of the newest answer, as `map.transform` changes them. */
export function valuesOf({ shown, role }) {
  const values = shown ? state.map?.layers.find(({ name }) => name === shown.name) : role === "input" && inputValues();
  return (values && map.transform ? map.transform(values) : values) || null;
}

/** Return the 28x28 as if it were a layer. */
function inputValues() {
  if (!state.prepared) return null;
  return { name: "image", shape: [28, 28, 1], low: 0, high: 255, percentile: 255, constant: [], values: Uint8Array.from(state.prepared.pixels.flat()) };
}

/** Paint the map in the next animation frame. */
export function paintSoon() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (!map.layout || byId("map").dataset.lanes === "true") return;
    performance.mark("map-painting");
    painter.paint(map.columns.map((column) => fitting(column, valuesOf(column))), map.byPicture);
    performance.measure("map-painted", "map-painting");
    emit("painted", map);
  });
}

/** Return values if they have the shape of their column: those of another network may still be there. */
const fitting = ({ shape }, values) => (values && values.shape.join() === shape.join() ? values : null);

/** Return the column and the channel under the pointer, or null. */
function hitAt(event) {
  if (!map.layout || byId("map").dataset.lanes === "true") return null;
  const area = byId("map-body").getBoundingClientRect();
  const [x, y] = [event.clientX - area.left, event.clientY - area.top];
  for (const column of map.columns) {
    const box = map.layout.boxes[column.index];
    if (!box) continue;
    const channel = column.role === "outputs" ? outputAt(box, x, y) : channelAt(map.layout, box, column.channels, x, y);
    if (channel !== null) return { column, channel };
  }
  return null;
}

function outputAt(box, x, y) {
  const { height, head: top } = map.layout;
  const classes = state.network.classes.length;
  if (map.layout.flow === "rows" || x < box.x || y < top) return null;
  return Math.min(classes - 1, Math.floor(((y - top) / (height - top)) * classes));
}

function openHit(hit, isTouch) {
  if (!hit) return;
  const box = map.layout.boxes[hit.column.index];
  if (isTouch && box.across && box.across < SMALL && place.mode !== "whatif") openColumn(hit.column);
  else openChannel(hit.column, hit.channel);
}

/** Open a column in the panel. */
export function openColumn({ shown }) {
  if (shown) go({ at: { layer: shown.name, channel: null, y: null, x: null } });
}

/** Open a channel in the panel: its values, or in the mode `learn` its gradient. In `what if`, switch it off or on. */
export function openChannel(column, channel) {
  if (!column.shown) return;
  if (place.mode === "whatif") emit("toggle", { column, channel });
  else go({ mode: place.mode === "learn" ? "learn" : "look", at: { layer: column.shown.name, channel, y: null, x: null } });
}

/** Return the rectangle of a channel's picture on the map, or of a row of the outputs. */
export function rectangleOf(column, channel) {
  const box = map.layout.boxes[column.index];
  if (!box) return null;
  if (column.role !== "outputs") return { ...cornerOf(map.layout, box, channel), width: box.across, height: box.down };
  if (map.layout.flow === "rows") return null;
  const { height, head: top } = map.layout;
  const row = (height - top) / state.network.classes.length;
  return { x: box.x - 4, y: top + channel * row + 3, width: OUTPUTS_WIDTH + 4, height: row - 6 };
}

/** Create an SVG element. */
export function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Mark the opened column in its heading, and frame the opened channel. */
function markOpened() {
  const { at } = place;
  const column = at ? columnOf(map.columns, at.layer) : null;
  for (const button of byId("map-heads").querySelectorAll("button")) {
    if (column && Number(button.dataset.column) === column.index) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const box = column && at.channel !== null && map.layout ? rectangleOf(column, at.channel) : null;
  if (box && narrow.matches) scrollAboveSheet(box);
  fill(byId("map-opened"), ...(box ? [svg("rect", { class: "opened", x: box.x - 1, y: box.y - 1, width: box.width + 2, height: box.height + 2, rx: 2 })] : []));
}

/** On narrow windows, scroll the opened picture to where the sheet of the panel does not cover it. */
function scrollAboveSheet({ y, height }) {
  const top = byId("map-body").getBoundingClientRect().top + y;
  const [first, last] = [byId("answer").getBoundingClientRect().bottom + 60, byId("panel").getBoundingClientRect().top || innerHeight];
  if (top < first || top + height > last) scrollBy({ top: top - (first + last) / 2, behavior: "instant" });
}
