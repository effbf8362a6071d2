/** Nothing opened: the columns of the network as a table, and where to start. */

import { shapeText } from "./columns.js";
import { count, fill, h } from "./dom.js";
import { map, openColumn, valuesOf } from "./map_view.js";
import { go } from "./address.js";
import { emit, on, state } from "./state.js";

let silent = []; // cells that say how many channels are silent, by column
on("painted", () => silent.forEach(({ cell, column }) => fill(cell, silentNow(column))));

/** Return the content of the panel. */
export function render() {
  silent = [];
  const rows = map.columns.map((column) => {
    const cell = h("td", silentNow(column));
    silent.push({ cell, column });
    const steps = column.layers.map(({ name }) => shortName(name)).join(" → ") || "as it is";
    return h("tr", h("th", { scope: "row" }, column.shown ? h("button.link", { type: "button", on: { click: () => openColumn(column) } }, column.title) : column.title),
      h("td", steps), h("td", shapeText(column)), h("td", count(column.layers.reduce((sum, { parameters }) => sum + parameters, 0))), cell);
  });
  const table = h("table.columns-table", h("caption.visually-hidden", "The columns of the map"),
    h("thead", h("tr", ["column", "steps", "shape", "learned numbers", "silent now"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", rows));
  return { content: h("div.overview", map.members.length && !map.lane ? h("p", `${map.members.length} networks read the digit, a row of the map each: how likely it holds each of the ${state.network.classes.length} digits to be. The mean of their probabilities is the answer. Open one to look inside.`) : table, startHere()), foot: downloads() };
}

/** Return a layer's name without the member and the number that its column has. */
const shortName = (name) => name.slice(name.indexOf("/") + 1).replace(/_\d[\d_]*$/, "").replace(/^normali[sz].*/, "normalise");

/** Say how many channels of a column are 0 everywhere for the present digit. */
function silentNow(column) {
  const layer = valuesOf(column);
  if (!layer || column.role === "outputs") return "";
  const size = layer.values.length / column.channels;
  const zero = layer.low === 0 ? 0 : null;
  const number = size > 1 ? layer.constant.length : zero === null ? 0 : layer.values.reduce((sum, byte) => sum + (byte === 0), 0);
  return `${count(number)} of ${count(column.channels)}`;
}

function startHere() {
  const middle = map.columns[Math.min(2, map.columns.length - 1)];
  const [member] = map.members;
  const links = member && !map.lane ? [["Open a member", " to see its map.", () => go({ lane: member.name })]] : [
    ["Point at a picture", " in the map: lines show what it reads and what it feeds.", () => middle?.shown && go({ at: { layer: middle.shown.name, channel: 0, y: null, x: null } })],
    ["Open a column", " to see its steps one by one, its weights and its figures.", () => openColumn(map.columns[1])],
    ["Ask why", " to see which pixels speak for the digit.", () => go({ mode: "why" })],
  ];
  const classic = state.models.some(({ name }) => name === "classic") && state.model !== "classic";
  return h("div.start", h("h3", "Start here"),
    links.map(([text, rest, act]) => h("p", h("button.link", { type: "button", on: { click: act } }, text), rest)),
    classic ? h("p.notes", "The network classic, above, is the one of the blog post.") : null,
    member && !map.lane ? null : h("p.notes", "Grey columns are still being read. Dashed pictures hold the same number everywhere."));
}

const DOWNLOADS = { pixels: "28 × 28 (PNG)", values: "All values (.npz)", stages: "Stages of the preparation (.npz)" };
const COMMANDS = { predict: "Copy curl command for the prediction", inspect: "for the inspection" };

function downloads() {
  const button = ([name, text]) => h("button.link", { type: "button", on: { click: () => take(name) } }, text);
  return [DOWNLOADS, COMMANDS].map((group) => h("div.tools", Object.entries(group).map(button)));
}

async function take(name) {
  try {
    await (await import("./downloads.js")).takeNetwork(name);
  } catch (error) {
    emit("error", error);
  }
}
