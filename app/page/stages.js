/** What the network receives: the stages of the preparation, and the answer without each of them. */

import { disclosure, fill, h, number, percent, pngUrl, table } from "./dom.js";
import { state, updateWhenVisible } from "./state.js";

const TITLES = {
  input: "Original", grey: "Greyscale", desk: "Desk removed", polarity: "White on black",
  background: "Background removed", frames: "Frame removed", clean: "Cleaned", scale: "Scaled", stroke: "Stroke width", centre: "Centred",
  upright: "Upright", turned: "Turned", narrowed: "Narrowed",
};

/** Fill an element with the stages of each new image. */
export function start(element) {
  const film = h("div.film", { id: "film", role: "group", aria: { label: "Stages of the preparation" } });
  const without = h("div", { id: "without" });
  fill(element, h("p.notes", "The network learned from small pictures: 28 × 28 pixels, one white digit in the middle of a black square. Before it reads your drawing or photo, digitscope turns it into such a picture, stage by stage."), film, without);
  updateWhenVisible(element, () => showStages(film, without));
}

function showStages(film, table) {
  const { stages, without, passthrough, image, prediction } = state.prepared;
  const last = lastFrame(image, passthrough ? "Unchanged: it already looks like the training digits." : "The network sees only this.");
  fill(film, stages.map((stage) => frame(stage, without.find((entry) => entry.stage === stage.name), last)), last.element);
  fill(table, passthrough
    ? h("p.notes", "This picture already has 28 × 28 pixels and goes to the network unchanged. Draw on it or upload a photo to see the stages at work.")
    : disclosure("Table: the answer without each stage", () => tableWithout(without, prediction)),
  disclosure("Table of the 28 × 28 grey levels", () => tableOfLevels()));
}

const tableOfLevels = () => table("Grey levels that the network receives", ["row", ...Array(28).keys()], state.prepared.pixels.map((row, y) => [y, ...row]));

/** Make the last frame: the 28x28 that the network receives, or would receive without a stage. */
function lastFrame(image, sentence) {
  const picture = h("img", { src: pngUrl(image), alt: "The 28 by 28 pixels that the network receives", width: "28", height: "28" });
  const caption = h("span", sentence);
  let switchOn = null; // switches the omitted stage on again
  const show = (source, text) => {
    picture.src = pngUrl(source);
    caption.textContent = text;
  };
  const element = h("figure.frame.last", picture, h("figcaption", h("b", "28 × 28"), caption));
  return {
    element,
    /** Show the 28x28 without one stage. Only one stage is off at a time, so the previous one goes on again. */
    without(title, omitted, switchBackOn) {
      switchOn?.();
      switchOn = switchBackOn;
      if (omitted.image) show(omitted.image, `Without the stage “${title}”, the network would receive this.`);
    },
    /** Show the 28x28 with all stages. */
    complete() {
      switchOn = null;
      show(image, sentence);
    },
  };
}

/** Make the frame of one stage, with a switch if the answer without it is known. */
function frame(stage, without, last) {
  const facts = Object.entries(stage.parameters).map(([name, value]) => `${name.replaceAll("_", " ")}: ${format(value)}`).join(" · ");
  const off = without ? h("button.switch", { type: "button", aria: { pressed: "true" }, data: { stage: stage.name } }, "on") : null;
  const effect = h("span.said", { aria: { live: "polite" } });
  const element = h("figure.frame", { data: { stage: stage.name } },
    h("img", { src: pngUrl(stage.image), alt: `${TITLES[stage.name] ?? stage.name}: ${stage.description}` }),
    h("figcaption", h("b", TITLES[stage.name] ?? stage.name, off ? " " : null, off), h("span", stage.description), h("small", facts), effect));
  const setOn = (isOn) => {
    off.setAttribute("aria-pressed", String(isOn));
    off.textContent = isOn ? "on" : "off";
    element.classList.toggle("off", !isOn);
    fill(effect, isOn ? "" : describeEffect(without));
  };
  off?.addEventListener("click", () => {
    const wasOn = off.getAttribute("aria-pressed") === "true";
    if (wasOn) last.without(TITLES[stage.name] ?? stage.name, without, () => setOn(true));
    else last.complete();
    setOn(!wasOn);
  });
  if (off) off.setAttribute("aria-label", `Stage ${TITLES[stage.name] ?? stage.name}`);
  return element;
}

/** Say what the network would read without a stage. */
function describeEffect(without) {
  if (without.digit === null) return "Without it: no ink found.";
  return `Without it: ${without.label}, ${percent(without.confidence)}${without.changed ? " – a different answer" : ""}.`;
}

function tableWithout(without, prediction) {
  return table("The answer without one of the stages", ["stage left out", "read as", "probability", "verdict"],
    [["none", prediction.label, percent(prediction.confidence), prediction.verdict],
      ...without.map((entry) => [TITLES[entry.stage] ?? entry.stage, entry.label ?? "–", entry.confidence === null ? "–" : percent(entry.confidence), entry.verdict ?? "no ink found"])]);
}

function format(value) {
  if (Array.isArray(value)) return value.map(format).join(", ");
  return typeof value === "number" ? number(value, 3) : String(value);
}
