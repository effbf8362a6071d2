/** Several digits on one picture: all are read, with a box around each, and one of them is opened at a time. */

import { send } from "./api.js";
import { announce, byId, decodeBase64, fill, h } from "./dom.js";
import { loadStyle } from "./panel.js";
import { PAGE_SIDE, shrink, upload } from "./photo.js";
import { recognisePart, saysSeveral } from "./recognise.js";
import { change, emit, on, state } from "./state.js";

const MAX_SAID = 9; // digits that the sentence lists
const COUNTS = ["", "", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"];
let reading = null; // AbortController of the request

/** Start to read pictures that seem to show several digits. */
export function startSeveral() {
  loadStyle().catch(() => {});
  const boxes = h("div.boxes", { aria: { hidden: "true" } });
  const list = h("div.several", { role: "group", aria: { label: "All digits on the picture" }, hidden: true });
  byId("pad-frame").append(boxes);
  byId("answer").prepend(list);
  on("surface", forget);
  on("network", forget);
  const check = () => {
    if (state.source.isPart) return;
    forget();
    if (state.prepared.prediction.input.warnings.some(saysSeveral)) readAll(state.source);
    else show(list, mayBeSeveral(state) ? [offer()] : []);
  };
  on("revision", check);
  on("page", (page) => {
    fill(boxes, page ? [...page.fields.map((field) => box(field.box, page, "field")), ...page.digits.map((digit, at) => box(digit.box, page, at === page.chosen ? "chosen" : "mark"))] : []);
    show(list, page ? [...lines(page), fields(page)] : []);
  });
  on("surface", () => show(list, []));
  on("prediction", () => state.page && sayAll(state.page));
  check();
}

function show(list, parts) {
  list.hidden = !parts.length;
  fill(list, parts);
}

/** Return whether a picture is not one sure digit. The service does not warn of every page with many digits. */
const mayBeSeveral = ({ source, prepared: { prediction } }) => !source.isPart && prediction.verdict !== "digit" && !prediction.input.warnings.some(saysSeveral);

/** Return a button that reads the picture as a page. */
function offer() {
  return h("button.small", { type: "button", on: { click: () => readAll(state.source) } }, "Are there several digits? Read them all");
}

function forget() {
  reading?.abort();
  reading = null;
  change("page", null);
}

/** Read all digits of a source, and open the first one. */
async function readAll(source) {
  const own = new AbortController();
  reading = own;
  try {
    const query = { include: "images" };
    const large = source.file ? (await shrink(source.file, PAGE_SIDE)).body : null;
    const answer = await (large ? upload("read", query, large, own.signal) : send("read", query, own.signal, source.original));
    if (own.signal.aborted) return;
    change("progress", null);
    const digits = answer.lines.flatMap((line, at) => line.digits.map((digit) => ({ ...digit, line: at })));
    if (digits.length < 2) {
      emit("done", "There is only one digit on this picture.");
      return;
    }
    announce(`Read as ${answer.text.replaceAll("\n", ", ")}.`);
    await open({ ...answer, digits, picture: source.picture }, 0);
  } catch (error) {
    change("progress", null);
    if (!own.signal.aborted) emit("error", error);
  }
}

/** Open one of the digits: the map and all parts then show it. */
async function open(page, chosen) {
  change("page", { ...page, chosen });
  const { image } = page.digits[chosen];
  const picture = await createImageBitmap(new Blob([decodeBase64(image)], { type: "image/png" }));
  if (state.page?.chosen === chosen) await recognisePart({ body: { image }, picture });
}

/** Say all digits of the page in place of the verdict, which is about the opened one; how sure it is stays below. */
function sayAll({ digits, chosen }) {
  const sure = byId("sure").textContent;
  const { label, verdict } = digits[chosen];
  fill(byId("verdict"), digits.length > MAX_SAID ? `${digits.length} digits.` : `${COUNTS[digits.length]} digits: ${digits.map((digit) => (digit.verdict === "not-a-digit" ? "?" : digit.label)).join(" ")}.`);
  if (verdict !== "not-a-digit") fill(byId("sure"), `The ${label}: ${sure[0].toLowerCase()}${sure.slice(1)}`);
}

/** Return the lines of the page, with a button for each digit. */
function lines(page) {
  const button = (digit, at) => h("button.several-digit", {
    type: "button", aria: { pressed: String(at === page.chosen), label: `Look at the ${digit.label}, digit ${at + 1} of ${page.digits.length}` },
    data: { verdict: digit.verdict }, on: { click: () => open(page, at) },
  }, digit.verdict === "not-a-digit" ? "?" : digit.label);
  const buttons = page.digits.map(button);
  return page.lines.map((_, line) => h("p.several-line", buttons.filter((each, at) => page.digits[at].line === line)));
}

/** Return the printed fields of a form with the text in each, or null. */
function fields(page) {
  if (!page.fields.length) return null;
  const rows = (text) => text.split("\n").join(" / ");
  return h("div.several-fields", h("p", "In its fields:"), h("ol", page.fields.map((field) => h("li", rows(field.text) || "nothing"))));
}

/** Return a frame at a box of the picture. The surface shows the picture in the middle of a square. */
function box({ x, y, width, height }, page, kind) {
  const side = Math.max(page.input.width, page.input.height);
  const share = (value) => `${(100 * value) / side}%`;
  const frame = h(`span.box.${kind}`);
  frame.style.left = share(x + (side - page.input.width) / 2);
  frame.style.top = share(y + (side - page.input.height) / 2);
  frame.style.width = share(width);
  frame.style.height = share(height);
  return frame;
}
