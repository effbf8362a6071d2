/** Learn: the user gives the right label, and a copy of the network takes steps of gradient descent on this one digit. */

import { go, place, set } from "./address.js";
import { aDigit, byId, disclosure, fill, h, number, percent, table } from "./dom.js";
import { flowControl, hasPictures, showGradients } from "./gradient_flow.js";
import { layerTable, reachedText } from "./gradient_table.js";
import { startGradientView } from "./gradient_view.js";
import { drawing, fetchGradients, takeSteps } from "./gradients.js";
import { MAX_STEPS, RATES, readSettings, writeSettings } from "./learning_settings.js";
import { curve } from "./plot.js";
import { emit, on, onNetwork, state, updateWhenVisible } from "./state.js";

const LITTLE_LOSS = 0.02; // nats: the right label has more than 98 %
const MANY_CLASSES = 12; // that are no digits: their buttons are as wide as their names

const parts = {};
const taken = { model: null, drawing: null, label: null }; // what the last steps were taken with; null: the place's steps are for what is there
let answer = null; // the response of /learn/step that is shown, or null
let hasFailed = false; // whether the last request did: its steps do not count

/** Fill an element with the mode. */
export function start(element) {
  makeControls();
  parts.said = h("output.outcome", { for: "rate" });
  parts.more = h("p.notes");
  parts.samples = h("div");
  parts.plot = h("div.loss");
  parts.steps = h("div");
  parts.layers = h("div.layers");
  const result = h("div.learned", parts.said, parts.more, parts.samples, parts.plot, parts.steps);
  const opened = h("div.opened", { hidden: true });
  const flow = flowControl((column) => (answer && column ? reachedText(answer, column) : ""));
  fill(element, h("div.learn", parts.controls, result, h("div.learn-flow", flow, about()), h("div.learn-layers", opened, parts.layers)));
  onNetwork(({ classes }) => makeLabels(classes));
  const updater = updateWhenVisible(element, load);
  parts.refresh = () => updater.refresh();
  startGradientView(opened, parts.layers);
  on("changed", leave);
  for (const event of ["blank", "unread"]) on(event, waitForDigit);
  on("prediction", showLabel);
  on("columns", () => place.mode === "learn" && updater.refresh());
  on("arrived", ({ withDigit }) => Object.assign(taken, { model: null, ...(withDigit && { drawing: null }) }));
  let last = place;
  on("place", (to) => {
    showLabel();
    showSettings();
    const key = ({ mode, target, settings }) => JSON.stringify([mode, target, writeSettings(readSettings(settings))]);
    if (to.mode !== "learn") leave();
    else if (key(to) !== key(last)) updater.refresh();
    last = to;
  });
}

/** Return the settings that the user chose: learning rate, steps and method. */
const chosen = () => readSettings(place.settings);

/** Change some of the settings. */
const choose = (changes) => set(writeSettings({ ...chosen(), ...changes }));

/** Make the controls: label, learning rate, optimizer and steps. */
function makeControls() {
  parts.labels = h("div.labels", { role: "group", aria: { labelledby: "right-label" } });
  parts.rate = h("input", { type: "range", id: "rate", min: "0", max: String(RATES.length - 1), step: "1", on: { input: () => choose({ rate: RATES[Number(parts.rate.value)] }) } });
  parts.rateText = h("output", { for: "rate" });
  parts.optimizer = h("select", { on: { change: () => choose({ method: parts.optimizer.value }) } }, h("option", { value: "sgd" }, "gradient descent"), h("option", { value: "momentum" }, "… with momentum"));
  const step = (by, text) => h("button", { type: "button", on: { click: () => take((hasFailed ? shownSteps() : chosen().steps) + by) } }, text);
  parts.forward = [step(1, "One step"), step(10, "10 steps")];
  parts.again = h("button", { type: "button", on: { click: () => take(0) } }, "Start again");
  parts.controls = h("div.learn-controls",
    h("p.label-question", { id: "right-label" }, "The right label"), parts.labels,
    h("div.row", h("label.slider", "Learning rate ", parts.rate), parts.rateText),
    h("div.row", h("label", "Method ", parts.optimizer)),
    h("div.row", parts.forward, parts.again));
  showSettings();
}

/** Return what the mode does and does not do; the service says the first part of it. */
function about() {
  parts.inference = h("p.notes", "The steps are taken on a copy of the network. Nothing that is served changes.");
  return [parts.inference, h("p.notes", "The gradients, on the map and in the table, are those before the first step. The notebook docs/layers.ipynb, in the source code of this service, takes such a step by hand.")];
}

/** Make a button for each class. */
function makeLabels(classes) {
  parts.labels.classList.toggle("many", classes.length > MANY_CLASSES);
  fill(parts.labels, classes.map((name, target) => h("button", { type: "button", aria: { pressed: "false" }, on: { click: () => giveLabel(target) } }, name)));
  showLabel();
}

/** Return whether the answer is about a digit: an empty surface has no right label. */
const hasDigit = () => byId("answer").dataset.digit !== undefined;

function showLabel() {
  [...parts.labels.children].forEach((button, target) => {
    button.setAttribute("aria-pressed", String(target === place.target && hasDigit()));
    button.disabled = !hasDigit();
  });
}

/** Give the right label: the steps begin again. */
function giveLabel(target) {
  if (target !== place.target) go({ target, settings: { ...place.settings, n: null } }, { replace: true });
}

function showSettings() {
  const { rate, method } = chosen();
  parts.rate.value = String(RATES.indexOf(rate));
  fill(parts.rateText, String(rate));
  parts.rate.setAttribute("aria-valuetext", String(rate));
  parts.optimizer.value = method;
}

/** Return the steps of the answer that is shown. */
const shownSteps = () => (answer ? Number(parts.said.dataset.steps) : 0);

/** Take steps from the network as it is served: all are calculated again, because the service keeps nothing. */
function take(steps) {
  const to = Math.min(MAX_STEPS, steps);
  if (to === chosen().steps) parts.refresh();
  else choose({ steps: to });
}

/** A new drawing needs a label of its own, and another network starts again. What an address says is for its digit. */
function forgetOther() {
  const now = { model: state.model, drawing: drawing(), label: place.target };
  const isOther = taken.drawing !== null && taken.drawing !== now.drawing;
  const hasOldLabel = isOther && now.label !== null && now.label === taken.label;
  const startsAgain = isOther || (taken.model !== null && taken.model !== now.model);
  Object.assign(taken, now, hasOldLabel && { label: null });
  if (hasOldLabel || (startsAgain && chosen().steps)) {
    go({ settings: { ...place.settings, n: null }, ...(hasOldLabel && { target: null, weight: null }) }, { replace: true });
  }
}

/** Let the copy take the steps, and show what has changed. */
async function load(signal) {
  if (place.mode !== "learn" || !state.rested) return;
  forgetOther();
  if (signal.aborted) return;
  showLabel();
  if (place.target === null || place.target >= state.network.classes.length) {
    askForLabel();
    return;
  }
  const { target } = place;
  const { rate, steps: wanted, method } = chosen();
  const query = { label: target, learning_rate: rate, optimizer: method, steps: Math.max(1, wanted) };
  const gradientsOf = hasPictures() ? fetchGradients(target, signal) : { layers: [] };
  document.body.toggleAttribute("data-other-gradients", answer !== null && answer.label !== target);
  const [steps, gradients] = await Promise.all([takeSteps(query, signal), gradientsOf]).catch((error) => {
    hasFailed = error.name !== "AbortError";
    throw error;
  });
  if (signal.aborted || !state.rested || place.mode !== "learn") return;
  const isNew = answer?.label !== target;
  answer = steps;
  hasFailed = false;
  show();
  showGradients(gradients.layers, isNew);
}

/** Show the values on the map again, and the answer of the served network in the bars. */
function leave() {
  document.body.removeAttribute("data-other-gradients");
  if (!answer) return;
  answer = null;
  enable();
  nameBars(0);
  showGradients(null);
  if (state.prediction) emit("what-if", state.prediction);
}

/** Ask for the right label, without which there is no loss. */
function askForLabel() {
  const { label } = state.prediction;
  ask(`The network reads ${aDigit(label)}. What is it really?`, "Give the right label. The loss then measures how wrong the network is, its gradient says how each number of the network changes the loss, and a step of learning moves every weight a little so that the loss falls.");
}

/** Say that without a digit there is nothing to learn. */
function waitForDigit() {
  showLabel();
  parts.samples.closest(".mode").removeAttribute("aria-busy"); // no answer is on its way
  ask("Draw a digit, or pick a sample: then give its right label.", "");
}

function ask(question, why) {
  leave();
  enable();
  parts.said.classList.remove("warm");
  delete parts.said.dataset.steps;
  fill(parts.said, question);
  fill(parts.more, why);
  for (const part of [parts.samples, parts.plot, parts.steps, parts.layers]) fill(part);
}

/** Allow what can be done: no more steps than the service takes, and none after the numbers have ended. */
function enable() {
  const { steps } = chosen();
  const hasEnded = answer !== null && steps > answer.steps;
  const { activeElement } = document;
  for (const button of parts.forward) button.disabled = !answer || hasEnded || steps >= MAX_STEPS;
  parts.again.disabled = !steps || !answer;
  const all = [...parts.forward, parts.again];
  if (all.includes(activeElement) && activeElement.disabled) all.find((button) => !button.disabled)?.focus({ preventScroll: true });
}

/** Say at the bars that they are those of the copy, after how many steps; 0: they are those of the served network. */
function nameBars(steps) {
  const bars = byId("bars");
  const name = `copy after ${steps} ${steps === 1 ? "step" : "steps"}`;
  parts.usualName ??= bars.getAttribute("aria-label");
  bars.setAttribute("aria-label", steps ? `${parts.usualName}, ${name}` : parts.usualName);
  if (steps) bars.dataset.copy = name;
  else delete bars.dataset.copy;
}

/** Show the copy after the steps that the user took: loss, probabilities, layers. */
function show() {
  const steps = Math.min(chosen().steps, answer.steps);
  const [first, now] = [answer.probabilities[0], answer.probabilities[steps]];
  enable();
  fill(parts.inference, "A copy of the network learns. ", answer.inference_mode);
  document.body.removeAttribute("data-other-gradients");
  emit("what-if", { probabilities: now, before: first });
  nameBars(steps);
  parts.said.dataset.steps = steps;
  const trouble = steps ? troubleAfter() : "";
  parts.said.classList.toggle("warm", trouble !== "");
  fill(parts.said, steps ? afterSteps(steps) : beforeSteps());
  fill(parts.more, trouble || (steps ? "" : firstHint()));
  fill(parts.samples, steps && answer.samples ? sampleBar(answer.samples) : null);
  showLoss(steps);
  fill(parts.layers, layerTable(answer, steps));
}

const className = (at) => state.network.classes[at];
/** Write a probability, however small: it may grow many times and still be less than 0.1 %. */
const shareText = (share) => (share < 0.0005 ? `${number(100 * share, 2)} %` : percent(share));
const bestOf = (shares) => shares.indexOf(Math.max(...shares));

function beforeSteps() {
  const { label, loss: [loss], probabilities: [shares] } = answer;
  return `The loss is ${number(loss)}: the network gives your label, ${className(label)}, a probability of ${shareText(shares[label])}.`;
}

function firstHint() {
  return answer.loss[0] < LITTLE_LOSS
    ? "The network is sure of this label already, so there is little to learn: all gradients are close to 0. Try another label."
    : hasPictures() ? "The map now shows the gradient of this loss for every value. Press “One step”: every weight moves against its gradient."
      : "The rows above show what each member reads, as it is served: open one to see its gradients. Press “One step”: every weight moves against its gradient.";
}

function afterSteps(steps) {
  const { label, loss, probabilities } = answer;
  const now = probabilities[steps];
  const best = bestOf(now);
  const ended = steps === chosen().steps ? "" : answer.diverged ? " Then its numbers grew beyond what the computer can hold." : ` The service takes no more than ${steps} with a network of this size.`;
  const most = steps >= MAX_STEPS ? ` ${MAX_STEPS} steps are the most that the service takes: start again.` : "";
  return `After ${steps} ${steps === 1 ? "step" : "steps"} at rate ${chosen().rate} the loss is ${number(loss[steps])}, before ${number(loss[0])}. The probability of ${className(label)} went from ${shareText(probabilities[0][label])} to ${shareText(now[label])}; the copy reads ${aDigit(className(best))}.${ended}${most}`;
}

/** Say what is wrong with the copy after the last step, or nothing. */
function troubleAfter() {
  if (answer.diverged) return "The learning rate is too large: each step goes past the lowest point of the loss and lands higher than it began. Choose a smaller one.";
  const { samples } = answer;
  if (!samples || 2 * samples.right_after > samples.right_before) return "";
  return "The learning rate is too large, or the steps are too many: they went so far that the copy now misreads other digits. Choose a smaller rate, or start again.";
}

/** Show how many of the sample digits, which are not learned here, the copy still reads right. */
function sampleBar({ count, right_before: before, right_after: after }) {
  const rail = h("span.rail", { aria: { hidden: "true" } }, h("span.ghost"), h("span.bar"));
  rail.style.setProperty("--share", after / count);
  rail.style.setProperty("--before", before / count);
  return [h("p.notes", `Of the ${count} sample digits, which it does not learn here, the copy reads ${after} right (bar); before, ${before} (orange mark).`), rail];
}

/** Plot the loss after each step, with a table of all probabilities. */
function showLoss(steps) {
  const at = Array.from({ length: steps + 1 }, (_, step) => step);
  fill(parts.plot, steps ? curve({ label: "Loss after each step", x: at, xLabel: "step", lines: [{ name: "loss of this digit", values: answer.loss.slice(0, steps + 1), kind: "first" }] }) : null);
  const wasOpen = parts.steps.firstElementChild?.open;
  const all = disclosure("Table of the probabilities", () => table("Loss and probabilities after each step", ["step", "loss", ...state.network.classes],
    at.map((step) => [step, number(answer.loss[step], 6), ...answer.probabilities[step].map((share) => number(share))])));
  all.open = Boolean(wasOpen);
  fill(parts.steps, all);
}
