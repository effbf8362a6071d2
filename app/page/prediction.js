/** The answer: the digit, ten bars with numbers, the runner-up and the verdict in words. */

import { aDigit, byId, fill, h, number, percent, announce } from "./dom.js";
import { on, state } from "./state.js";

/** Rows of a table of bars; `show(probabilities)` moves them. */
export function probabilityBars(body, { before = false } = {}) {
  const rows = Array.from({ length: 10 }, (_, digit) => {
    const bar = h("span.bar");
    const ghost = before ? h("span.ghost") : null;
    const value = h("td.value");
    const row = h("tr", h("th", { scope: "row" }, digit), h("td.track", h("span.rail", ghost, bar)), value);
    return { row, bar, ghost, value };
  });
  body.append(...rows.map(({ row }) => row));
  return {
    show(probabilities, compared = null) {
      const best = probabilities.indexOf(Math.max(...probabilities));
      rows.forEach(({ row, bar, ghost, value }, digit) => {
        const share = probabilities[digit];
        bar.style.width = `${100 * share}%`;
        if (ghost) ghost.style.left = `${100 * (compared ?? probabilities)[digit]}%`;
        value.textContent = percent(share);
        value.title = number(share, 6);
        row.classList.toggle("best", share > 0 && digit === best);
      });
    },
  };
}

/** The answer in a sentence, and what stands beside it in another. */
export function describePrediction(answer) {
  const { digit, runner_up: second, probabilities, verdict } = answer;
  const [sure, less] = [digit, second].map((one) => percent(probabilities[one]).replace("> ", "more than ").replace("< ", "less than "));
  const next = `Next comes ${second}, with ${less}.`;
  if (verdict === "digit") return [`It is ${aDigit(digit)}, with ${sure}.`, next];
  if (verdict === "unsure") return [`Unsure. Perhaps ${aDigit(digit)}, with ${sure}.`, next];
  return ["Not a digit.", `Nothing in training looked like this. If it had to choose: ${digit}, then ${second}.`];
}

/** Show every answer that comes. */
export function startPrediction() {
  const bars = probabilityBars(byId("bars").tBodies[0]);
  bars.show(Array(10).fill(0));
  on("answer", (answer) => {
    state.answer = answer;
    const [sentence, more] = describePrediction(answer);
    fill(byId("digit"), answer.verdict === "not-a-digit" ? "–" : answer.digit);
    byId("digit").dataset.verdict = answer.verdict;
    fill(byId("verdict"), sentence);
    fill(byId("second"), more);
    fill(byId("warnings"), answer.input.warnings.join(" "));
    bars.show(answer.probabilities);
    byId("answer").dataset.digit = answer.digit;
  });
  on("revision", () => {
    delete document.body.dataset.stale;
    if (state.answer) announce(describePrediction(state.answer).join(" "));
  });
  const none = (sentence, more) => {
    fill(byId("digit"), "·");
    fill(byId("verdict"), sentence);
    fill(byId("second"), more);
    fill(byId("warnings"), state.prepared ? "All else here is still of the last digit that was read." : null);
    if (state.prepared) document.body.dataset.stale = "true";
    bars.show(Array(10).fill(0));
    delete byId("answer").dataset.digit;
    announce(sentence);
  };
  on("blank", (error) => (error ? none("No digit is seen.", error.message) : none("Nothing is drawn yet.", "Draw a digit, or choose one of the samples.")));
  on("unread", (error) => none("This could not be read.", error.message));
}
