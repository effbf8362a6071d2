/** What the network received: the preparation as a filmstrip, and what each stage is worth. */

import { byId, disclosure, fill, h, number, percent, table } from "./dom.js";
import { pngUrl } from "./heatmaps.js";
import { on, state } from "./state.js";

const TITLES = {
  input: "As it came", grey: "Grey", polarity: "Ink light", background: "Even ground", clean: "Cleaned",
  scale: "Scaled to 20", stroke: "Stroke width", centre: "Centred",
};

/** Draw the filmstrip whenever an image was prepared. */
export function startStages() {
  on("revision", () => {
    if (!state.prepared) return;
    byId("received").dataset.revision = state.revision;
    const { stages, without, passthrough, image, prediction } = state.prepared;
    const last = result(image, passthrough ? "Unchanged: it came in MNIST's own form." : "This the network sees, and nothing else.");
    const frames = stages.map((stage) => frame(stage, without.find((one) => one.stage === stage.name), last));
    frames.push(last.box);
    fill(byId("film"), frames);
    fill(byId("without"), passthrough
      ? h("p.notes", "This picture came as 28 × 28 and goes to the network as it is. Draw on it, or upload a photo, and the stages show what they do.")
      : disclosure("Table: what would be read without each of them", () => worth(without, prediction)),
    disclosure("Table of the 28 × 28 grey levels", () => table("What the network received", ["row", ...Array(28).keys()], state.prepared.pixels.map((row, y) => [y, ...row]))));
  });
}

/** The last frame: what the network received, or would receive without a stage. */
function result(image, sentence) {
  const picture = h("img", { src: pngUrl(image), alt: "The 28 by 28 pixels that the network received", width: "28", height: "28" });
  const said = h("span", sentence);
  let back = null;
  const show = (source, text) => {
    picture.src = pngUrl(source);
    said.textContent = text;
  };
  const box = h("figure.frame.last", picture, h("figcaption", h("b", "28 × 28"), said));
  return {
    box,
    /** Show what it would be without a stage; whatever else was left out comes back first. */
    without(title, one, comeBack) {
      back?.();
      back = comeBack;
      if (one.image) show(one.image, `Without “${title}” the network would receive this.`);
    },
    whole() {
      back = null;
      show(image, sentence);
    },
  };
}

function frame(stage, without, last) {
  const facts = Object.entries(stage.parameters).map(([name, value]) => `${name.replaceAll("_", " ")} ${plain(value)}`).join(" · ");
  const off = without ? h("button.switch", { type: "button", aria: { pressed: "true" }, data: { stage: stage.name } }, "on") : null;
  const said = h("span.said", { aria: { live: "polite" } });
  const box = h("figure.frame", { data: { stage: stage.name } },
    h("img", { src: pngUrl(stage.image), alt: `${TITLES[stage.name] ?? stage.name}: ${stage.description}` }),
    h("figcaption", h("b", TITLES[stage.name] ?? stage.name, off ? " " : null, off), h("span", stage.description), h("small", facts), said));
  const turn = (isOn) => {
    off.setAttribute("aria-pressed", String(isOn));
    off.textContent = isOn ? "on" : "off";
    box.classList.toggle("off", !isOn);
    fill(said, isOn ? "" : sentence(without));
  };
  off?.addEventListener("click", () => {
    const wasOn = off.getAttribute("aria-pressed") === "true";
    if (wasOn) last.without(TITLES[stage.name] ?? stage.name, without, () => turn(true));
    else last.whole();
    turn(!wasOn);
  });
  if (off) off.setAttribute("aria-label", `Stage ${TITLES[stage.name] ?? stage.name}`);
  return box;
}

function sentence(without) {
  if (without.digit === null) return "Without it, no ink is found.";
  return `Without it: ${without.digit}, ${percent(without.confidence)}${without.changed ? " – another answer" : ""}.`;
}

function worth(without, prediction) {
  return table("What would be read without one of the stages", ["stage left out", "read as", "probability", "verdict"],
    [["none", prediction.digit, percent(prediction.confidence), prediction.verdict],
      ...without.map((one) => [TITLES[one.stage] ?? one.stage, one.digit ?? "–", one.confidence === null ? "–" : percent(one.confidence), one.verdict ?? "nothing found"])]);
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return typeof value === "number" ? number(value, 3) : String(value);
}
