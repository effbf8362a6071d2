/** The answer: the digit, a bar for each probability, the second most likely digit and the verdict in words. */

import { aDigit, byId, fill, h, number, percent, announce } from "./dom.js";
import { on, onNetwork, state } from "./state.js";

const DIGITS = [..."0123456789"];

/**
 * Add a row with a bar for each class to a table's body.
 *
 * @param {HTMLElement} body The `<tbody>`.
 * @param {string[]} classes Names of the classes, in the order of the probabilities.
 * @param {object} [options]
 * @param {boolean} [options.before] Whether a mark shows where each bar was before a change.
 * @returns {{show: (probabilities: number[], before?: number[]) => void}} `show` sets the bars.
 */
export function probabilityBars(body, classes, { before: withMarks = false } = {}) {
  const rows = classes.map((name) => {
    const bar = h("span.bar");
    const ghost = withMarks ? h("span.ghost") : null;
    const value = h("td.value");
    const row = h("tr", h("th", { scope: "row" }, name), h("td.track", h("span.rail", ghost, bar)), value);
    return { row, bar, ghost, value };
  });
  fill(body, rows.map(({ row }) => row));
  return {
    show(probabilities, before = null) {
      const best = probabilities.indexOf(Math.max(...probabilities));
      rows.forEach(({ row, bar, ghost, value }, digit) => {
        const share = probabilities[digit];
        bar.style.width = `${100 * share}%`;
        if (ghost) ghost.style.left = `${100 * (before ?? probabilities)[digit]}%`;
        value.textContent = percent(share);
        value.title = number(share, 6);
        row.classList.toggle("best", share > 0 && digit === best);
      });
    },
  };
}

/** Return two sentences: the answer, and the second most likely class. */
export function describePrediction({ digit, label, runner_up: second, probabilities, verdict }, classes) {
  const inWords = (share) => percent(share).replace("> ", "more than ").replace("< ", "less than ");
  const first = `with a probability of ${inWords(probabilities[digit])}`;
  const next = `Second: ${classes[second]}, with ${inWords(probabilities[second])}.`;
  if (verdict === "digit") return [`It is ${aDigit(label)}, ${first}.`, next];
  if (verdict === "unsure") return [`Not sure. Perhaps ${aDigit(label)}, ${first}.`, next];
  return ["Not a digit.", `The network saw nothing like this in training. If it had to choose: ${label}, then ${classes[second]}.`];
}

/** Start the section: it shows each new prediction. */
export function startPrediction() {
  let classes = DIGITS;
  let bars = null;
  const showClasses = (names) => {
    classes = names;
    bars = probabilityBars(byId("bars").tBodies[0], classes);
    bars.show(Array(classes.length).fill(0));
  };
  showClasses(DIGITS);
  onNetwork((network) => network.classes.join() === classes.join() || showClasses(network.classes));
  on("prediction", (prediction) => {
    state.prediction = prediction;
    const [sentence, more] = describePrediction(prediction, classes);
    fill(byId("digit"), prediction.verdict === "not-a-digit" ? "–" : prediction.label);
    byId("digit").dataset.verdict = prediction.verdict;
    fill(byId("verdict"), sentence);
    fill(byId("second"), more);
    fill(byId("warnings"), prediction.input.warnings.join(" "));
    if (prediction.probabilities.length === classes.length) bars.show(prediction.probabilities);
    byId("answer").dataset.digit = prediction.digit;
  });
  on("revision", () => {
    delete document.body.dataset.stale;
    if (state.prediction) announce(describePrediction(state.prediction, classes).join(" "));
  });
  const showNoDigit = (sentence, more) => {
    fill(byId("digit"), "·");
    fill(byId("verdict"), sentence);
    fill(byId("second"), more);
    fill(byId("warnings"), state.prepared ? "The rest of the page still shows the last digit that was read." : null);
    if (state.prepared) document.body.dataset.stale = "true";
    bars.show(Array(classes.length).fill(0));
    delete byId("answer").dataset.digit;
    announce(sentence);
  };
  on("blank", (error) => (error ? showNoDigit("No digit found.", error.message) : showNoDigit("Nothing is drawn yet.", "Draw a digit, or choose one of the samples.")));
  on("unread", (error) => showNoDigit("This image could not be read.", error.message));
}
