/** The settings of the mode `learn` in the address: learning rate `r`, steps `n` and method `by`. */

export const RATES = [0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]; // the last are too large for our networks
export const MAX_STEPS = 50; // that the service takes
const USUAL_RATE = 0.001; // the largest that none of our networks fails with at once
const METHODS = ["sgd", "momentum"];

const isSteps = (text) => /^\d{1,2}$/.test(text) && Number(text) <= MAX_STEPS;

/**
 * Read the settings of a place; what it lacks, or what the page does not offer, has its usual value.
 *
 * @param {Record<string, string>} settings
 * @returns {{rate: number, steps: number, method: string}}
 */
export function readSettings({ r, n, by }) {
  return {
    rate: RATES.includes(Number(r)) ? Number(r) : USUAL_RATE,
    steps: isSteps(n) ? Number(n) : 0,
    method: METHODS.includes(by) ? by : METHODS[0],
  };
}

/** Return the settings as the address holds them: usual values are left out. */
export function writeSettings({ rate, steps, method }) {
  return { r: rate === USUAL_RATE ? null : String(rate), n: steps ? String(steps) : null, by: method === METHODS[0] ? null : method };
}

/** Return a sentence for each setting of a link that the page does not offer. */
export function settingProblems({ r, n, by }) {
  return [
    r && !RATES.includes(Number(r)) ? `There is no learning rate “${r}”: ${USUAL_RATE} is used.` : null,
    n && !isSteps(n) ? `The steps are 0 to ${MAX_STEPS}, not “${n}”: none is taken.` : null,
    by && !METHODS.includes(by) ? `There is no method “${by}”: ${METHODS[0]} is used.` : null,
  ].filter(Boolean);
}
