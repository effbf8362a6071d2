/** What if: channels are switched off by their pictures on the map, and all later layers are calculated again. */

import { send } from "./api.js";
import { go, place } from "./address.js";
import { columnOf } from "./columns.js";
import { aDigit, announce, byId, fill, h, number, percent, table } from "./dom.js";
import { map, rectangleOf, svg } from "./map_view.js";
import { probabilityBars } from "./prediction.js";
import { emit, on, onNetwork, state, updateWhenVisible } from "./state.js";

const MAX_RANKED = 8; // channels that are framed on the map
let ranked = null; // the response of /ablate for each channel of a column in turn

/** Fill an element with the switched-off channels and their effect. */
export function start(element) {
  const parts = { off: h("div.off-list"), said: h("output.outcome"), bars: h("ol.bars", { aria: { label: "Probabilities with these channels off; the mark shows where each bar was before" } }), order: h("div") };
  const layer = h("select", { id: "off-layer" });
  const about = h("p.notes");
  const showColumns = () => {
    fill(about, hasPictures() ? "Choose pictures on the map to switch channels off" : "Open a member of the ensemble on the map to switch its channels off by their pictures, or rank a column of any member",
      ": all later layers are calculated again without them. If the bars do not move, the network did not need these channels for this digit.");
    const { value } = layer;
    fill(layer, usableColumns().map((column) => h("option", { value: column.shown.name }, titleOf(column))));
    if ([...layer.options].some((option) => option.value === value)) layer.value = value;
  };
  fill(element, about,
    h("div.whatif",
      h("div", parts.said, parts.off, h("button", { type: "button", id: "all-on", on: { click: () => go({ off: null }, { replace: true }) } }, "All on"),
        h("div.row", h("label", "Column ", layer), h("button", { type: "button", id: "rank", on: { click: () => rank(layer.value, parts.order) } }, "Rank this column"))),
      parts.bars, parts.order));
  let bars = null;
  onNetwork(({ classes }) => {
    bars = probabilityBars(parts.bars, classes, { before: true });
    showColumns();
    ranked = null;
    fill(parts.order);
  });
  on("columns", showColumns);
  const updater = updateWhenVisible(element, (signal) => apply(parts, bars, signal));
  on("toggle", toggle);
  on("revision", () => { ranked = null; fill(parts.order); });
  let isHere = true;
  on("place", ({ mode }) => {
    const wasHere = isHere;
    isHere = mode === "whatif";
    if (isHere) updater.refresh();
    else if (wasHere && state.prediction) emit("what-if", state.prediction);
    mark();
  });
  on("arranged", mark);
  mark();
}

/** Return whether the map shows pictures: not the rows of an ensemble. */
const hasPictures = () => !map.members.length || map.lane !== null;

/** Return a column's title, with its member where the columns of all members are listed. */
const titleOf = ({ member, title }) => (hasPictures() || !member ? title : `${member}, ${title}`);

const usableColumns = () => map.columns.filter(({ shown, role }) => shown?.ablatable && shown.changes_values && role === "hidden");

/** Switch a channel off or on. Channels of one column only are off at a time. */
function toggle({ column, channel }) {
  const { shown } = column;
  if (column.role !== "hidden" || !shown.ablatable) { announce("This column cannot be switched off."); return; }
  const channels = place.off?.layer === shown.name ? [...place.off.channels] : [];
  const at = channels.indexOf(channel);
  if (at < 0) channels.push(channel);
  else channels.splice(at, 1);
  announce(`Channel ${channel} of ${column.title} ${at < 0 ? "off" : "on"}.`);
  go({ off: channels.length ? { layer: shown.name, channels } : null }, { replace: true });
}

/** Recalculate the answer without the channels that are off, and show the change. */
async function apply({ off: list, said }, bars, signal) {
  const { off } = place;
  const before = state.prediction.probabilities;
  byId("all-on").disabled = !off;
  said.dataset.off = off ? off.channels.join(",") : "";
  const column = off && columnOf(map.columns, off.layer);
  fill(list, column ? off.channels.map((channel) => h("button", { type: "button", aria: { label: `Channel ${channel} of ${titleOf(column)}: switch on` }, on: { click: () => toggle({ column, channel }) } }, `${titleOf(column)}, ${channel} ✕`)) : []);
  if (!off) {
    bars.show(before, before);
    emit("what-if", state.prediction);
    fill(said, "All channels are on.");
    return;
  }
  const response = await send("ablate", { layer: off.layer, channels: off.channels.join(",") }, signal);
  const [change] = response.ablations;
  bars.show(change.probabilities, before);
  emit("what-if", change);
  fill(said, change.changed
    ? `Without ${off.channels.length === 1 ? "this channel" : "these channels"}, the ${state.network.classes[response.target]} is read as ${aDigit(change.label)}.`
    : `Still ${aDigit(change.label)}: ${percent(change.probabilities[change.digit])} sure. The score of ${state.network.classes[response.target]} changed from ${number(response.baseline_logit)} to ${number(response.baseline_logit + change.logit_change)}.`);
}

/** Switch the channels of a column off one at a time, list what changes most, and frame it on the map. */
async function rank(name, list) {
  if (!name) return;
  try {
    ranked = await send("ablate", { layer: name });
    const { ablations, layer, target } = ranked;
    fill(list, table(`${layer.name}: one channel switched off at a time, largest change first`, ["channel off", `score of ${state.network.classes[target]}`, "change", "read as"],
      ablations.slice(0, 12).map((entry) => [entry.channels[0], number(entry.logits[target]), number(entry.logit_change), entry.label])));
    mark();
  } catch (error) {
    emit("error", error);
  }
}

/** Hatch the channels that are off on the map, and frame those that matter most. */
function mark() {
  const isHere = place.mode === "whatif" && map.layout;
  const rectangles = (layerName, channels, name) => {
    const column = layerName && columnOf(map.columns, layerName);
    return column ? channels.map((channel) => rectangleOf(column, channel)).filter(Boolean)
      .map(({ x, y, width, height }) => hatched(svg("rect", { class: name, x, y, width, height }), name === "off")) : [];
  };
  fill(byId("map-off"), isHere && ranked ? rectangles(ranked.layer.name, ranked.ablations.slice(0, MAX_RANKED).map(({ channels: [channel] }) => channel), "ranked") : [],
    isHere && place.off ? rectangles(place.off.layer, place.off.channels, "off") : []);
}

/** Hatch a rectangle. Not in the style sheet, whose addresses are relative to itself. */
function hatched(rectangle, isOff) {
  if (isOff) rectangle.style.fill = "url(#hatch)";
  return rectangle;
}
