/** The answer: the digit, a bar for each probability, the second most likely digit and the verdict in words. */

import { aDigit, byId, fill, h, number, percent, announce } from "./dom.js";
import { on, state } from "./state.js";

/**
 * Add ten rows with a bar to a table's body.
 *
 * @param {HTMLElement} body The `<tbody>`.
 * @param {object} [options]
 * @param {boolean} [options.before] Whether a mark shows where each bar was before a change.
 * @returns {{show: (probabilities: number[], before?: number[]) => void}} `show` sets the bars.
 */
export function probabilityBars(body, { before: withMarks = false } = {}) {
  const rows = Array.from({ length: 10 }, (_, digit) => {
    const bar = h("span.bar");
    const ghost = withMarks ? h("span.ghost") : null;
    const value = h("td.value");
    const row = h("tr", h("th", { scope: "row" }, digit), h("td.track", h("span.rail", ghost, bar)), value);
    return { row, bar, ghost, value };
  });
  body.append(...rows.map(({ row }) => row));
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

/** Return two sentences: the answer, and the second most likely digit. */
export function describePrediction({ digit, runner_up: second, probabilities, verdict }) {
  const inWords = (share) => percent(share).replace("> ", "more than ").replace("< ", "less than ");
  const first = `with a probability of ${inWords(probabilities[digit])}`;
  const next = `Second: ${second}, with ${inWords(probabilities[second])}.`;
  if (verdict === "digit") return [`It is ${aDigit(digit)}, ${first}.`, next];
  if (verdict === "unsure") return [`Not sure. Perhaps ${aDigit(digit)}, ${first}.`, next];
  return ["Not a digit.", `The network saw nothing like this in training. If it had to choose: ${digit}, then ${second}.`];
}

/** Start the section: it shows each new prediction. */
export function startPrediction() {
  const bars = probabilityBars(byId("bars").tBodies[0]);
  bars.show(Array(10).fill(0));
  on("prediction", (prediction) => {
    state.prediction = prediction;
    const [sentence, more] = describePrediction(prediction);
    fill(byId("digit"), prediction.verdict === "not-a-digit" ? "–" : prediction.digit);
    byId("digit").dataset.verdict = prediction.verdict;
    fill(byId("verdict"), sentence);
    fill(byId("second"), more);
    fill(byId("warnings"), prediction.input.warnings.join(" "));
    bars.show(prediction.probabilities);
    byId("answer").dataset.digit = prediction.digit;
  });
  on("revision", () => {
    delete document.body.dataset.stale;
    if (state.prediction) announce(describePrediction(state.prediction).join(" "));
  });
  const showNoDigit = (sentence, more) => {
    fill(byId("digit"), "·");
    fill(byId("verdict"), sentence);
    fill(byId("second"), more);
    fill(byId("warnings"), state.prepared ? "The rest of the page still shows the last digit that was read." : null);
    if (state.prepared) document.body.dataset.stale = "true";
    bars.show(Array(10).fill(0));
    delete byId("answer").dataset.digit;
    announce(sentence);
  };
  on("blank", (error) => (error ? showNoDigit("No digit found.", error.message) : showNoDigit("Nothing is drawn yet.", "Draw a digit, or choose one of the samples.")));
  on("unread", (error) => showNoDigit("This image could not be read.", error.message));
}
