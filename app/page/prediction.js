/** The answer: digit, verdict, probabilities, what the network received, and whether all this is up to date. */

import { go } from "./address.js";
import { aDigit, announce, byId, fill, h, number, percent, pngUrl } from "./dom.js";
import { emit, on, onNetwork, state } from "./state.js";

const DIGITS = [..."0123456789"];
const SHOWN = [["clean", "cut out"], ["centre", "centred"]]; // after the first stage, the ink itself
export const NO_PICTURE = "This is not a picture that can be read. Use PNG, JPEG, WebP, BMP, GIF, TIFF or HEIC.";
const TEXTS = {
  answered: "Up to date",
  reading: "Reading…",
  offline: "No connection. Your drawing is safe.",
  busy: "The service is busy. Trying again.",
  failed: "The answer did not arrive.",
};

/**
 * Add an item with a bar for each class to a list.
 *
 * @param {HTMLElement} list The `<ol>`.
 * @param {string[]} classes Names of the classes, in the order of the probabilities.
 * @param {object} [options]
 * @param {boolean} [options.before] Whether a mark shows where each bar was before a change.
 * @returns {{show: (probabilities: number[], before?: number[]) => void}} `show` sets the bars.
 */
export function probabilityBars(list, classes, { before: withMarks = false } = {}) {
  const rows = classes.map((name) => {
    const value = h("span.value");
    const row = h("li", h("span.name", name), h("span.rail", withMarks ? h("span.ghost") : null, h("span.bar")), value);
    return { row, value };
  });
  fill(list, rows.map(({ row }) => row));
  return {
    show(probabilities, before = null) {
      const best = probabilities.indexOf(Math.max(...probabilities));
      rows.forEach(({ row, value }, digit) => {
        const share = probabilities[digit];
        row.style.setProperty("--share", share);
        row.style.setProperty("--before", (before ?? probabilities)[digit]);
        value.textContent = percent(share);
        value.title = number(share, 6);
        row.classList.toggle("best", share > 0 && digit === best);
      });
    },
  };
}

const inWords = (share) => percent(share).replace("> ", "more than ").replace("< ", "less than ");
const sentence = (text) => text[0].toUpperCase() + text.slice(1);

/** Return three sentences: the answer, how sure the network is, and the second most likely class. */
export function describePrediction({ digit, label, runner_up: second, probabilities, verdict }, classes) {
  const sure = sentence(`${inWords(probabilities[digit])} sure.`);
  const next = `Next: ${classes[second]}, ${inWords(probabilities[second])}.`;
  if (verdict === "digit") return [`It is ${aDigit(label)}.`, sure, next];
  if (verdict === "unsure") return [`Probably ${aDigit(label)}, perhaps ${aDigit(classes[second])}.`, sure, next];
  return ["This does not look like a digit.", `Closest: ${label}.`, `Next: ${classes[second]}.`];
}

/** Start the answer: it shows each new prediction. */
export function startPrediction() {
  let classes = DIGITS;
  let bars = null;
  const showClasses = (names) => {
    classes = names;
    bars = probabilityBars(byId("bars"), classes, { before: true });
    bars.show(Array(classes.length).fill(0));
  };
  showClasses(DIGITS);
  onNetwork((network) => network.classes.join() === classes.join() || showClasses(network.classes));
  const say = (sentences) => ["verdict", "sure", "second"].forEach((id, at) => fill(byId(id), sentences[at] ?? ""));
  let isEmpty = true; // no answer is shown, but why there is none
  on("prediction", (prediction) => {
    isEmpty = false;
    delete document.body.dataset.stale;
    state.prediction = prediction;
    say(describePrediction(prediction, classes));
    fill(byId("digit"), prediction.verdict === "not-a-digit" ? "–" : prediction.label);
    byId("digit").dataset.verdict = prediction.verdict;
    fill(byId("warnings"), prediction.input.warnings.join(" "));
    if (prediction.probabilities.length === classes.length) bars.show(prediction.probabilities);
    byId("answer").dataset.digit = prediction.digit;
  });
  on("what-if", ({ probabilities, before }) => bars.show(probabilities, before ?? state.prediction.probabilities));
  on("revision", () => {
    if (state.prediction) announce(describePrediction(state.prediction, classes).join(" "));
  });
  const sayLast = (what) => fill(byId("warnings"), state.prepared ? `${what} still shows the last digit that was read.` : null);
  const showNoDigit = (...sentences) => {
    isEmpty = true;
    fill(byId("digit"), "·");
    say(sentences);
    sayLast("The rest of the page");
    if (state.prepared) document.body.dataset.stale = "true";
    bars.show(Array(classes.length).fill(0));
    delete byId("answer").dataset.digit;
    announce(sentences.join(" "));
  };
  on("blank", (error) => (error ? showNoDigit("The picture is blank.", "Choose one with a digit, or draw something.") : showNoDigit("Nothing is drawn.", "Draw something, or pick a sample.")));
  on("unread", (error) => showNoDigit("This image could not be read.", error.status === 415 ? NO_PICTURE : error.message));
  // A new drawing is on its way: what was said of the surface before is no longer true.
  const wait = () => (isEmpty ? say(state.reading === "offline" ? ["No connection.", "Your drawing is safe and will be read when the service is back."] : ["Reading…"]) : state.reading === "offline" && sayLast("The page"));
  on("surface", wait);
  on("reading", (now) => (["reading", "offline"].includes(now) ? wait() : now !== "answered" && !isEmpty && sayLast("The page")));
}

/** Start the four pictures on the way from the ink to the 28x28. Choosing them opens all stages. */
export function startReceived() {
  byId("thumbs").addEventListener("click", () => go({ mode: "received" }));
  on("revision", () => {
    if (!state.prepared) return;
    byId("received").dataset.revision = state.revision;
    const { stages, image } = state.prepared;
    const found = SHOWN.flatMap(([name, title]) => {
      const stage = stages.find((entry, at) => at > 0 && entry.name === name);
      return stage ? [[stage.image, title]] : [];
    });
    const ink = stages.length ? [[stages[0].image, "your ink"]] : [];
    fill(byId("thumbs"), [...ink, ...found, [image, "28 × 28"]].map(([png, title]) => h("span", h("img", { src: pngUrl(png), alt: "" }), h("small", title))));
  });
}

/** Start the line that says whether the answer belongs to what is on the surface. `again` reads the surface once more. */
export function startStateLine(again) {
  const action = byId("state-action");
  const show = () => {
    byId("state-line").dataset.state = state.reading;
    byId("answer").setAttribute("aria-busy", String(state.reading !== "answered"));
    fill(byId("state-text"), state.progress ?? TEXTS[state.reading]);
    action.hidden = !state.progress && state.reading !== "failed";
    fill(action, state.progress ? "Cancel" : "Try again");
  };
  action.addEventListener("click", () => (state.progress ? emit("cancel") : again()));
  on("reading", show);
  on("progress", show);
  const mark = (name, isSet) => document.documentElement.toggleAttribute(name, isSet);
  on("late", (late) => mark("data-late", late));
  on("changed", () => mark("data-changed", true));
  on("revision", () => mark("data-changed", false));
  show();
}
