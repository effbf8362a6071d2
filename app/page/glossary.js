/** The words of the page and the keys of the map, each explained in a dialog. */

import { loadStyle } from "./panel.js";
import { h } from "./dom.js";

const WORDS = [
  ["Normalisation", "Grey levels run from 0 to 255. Normalisation subtracts the mean of all training pixels and divides by their standard deviation, which measures how far values typically lie from the mean. The inputs then lie around 0, where learning is easiest."],
  ["Convolution", "A small table of weights, the kernel, slides over the picture. At each position, every weight is multiplied by the pixel under it, and the products are added up. The sum is large where the picture looks like the kernel."],
  ["ReLU", "ReLU stands for rectified linear unit. Positive numbers stay the same, negative numbers become 0. Without such a bend, any number of layers would do no more than a single weighted sum. A 0 means: not found here."],
  ["Pooling", "Pooling replaces each small window of values by one value: the largest (max pooling) or the mean (average pooling). The picture gets smaller, and a stroke can move by a pixel without changing much. What was found matters more than exactly where."],
  ["Flatten", "Flatten writes the stack of small pictures as one long row of numbers. No value changes. From here on, every unit can use values from the whole picture."],
  ["Dense", "In a dense layer, each unit (one output number) has a weight for every input. It multiplies each input by its weight and adds up the products. In many networks, most of the weights are in dense layers."],
  ["Softmax", "Softmax turns the ten scores, called logits, into probabilities. It calculates e to the power of each score and divides each result by the sum of all ten. The results are positive and add up to 1."],
  ["Dropout", "During training, dropout sets randomly chosen values to 0, different ones each time. So no unit can rely on a single other unit. When the network reads your digit, dropout does nothing."],
  ["Batch normalisation", "Batch normalisation shifts and scales each channel so that its values stay in a similar range. During training, it uses the mean and the standard deviation of the batch, the group of digits that the network reads at once. After training both are fixed, so only one multiplication and one addition per value remain."],
  ["Augmentation", "During training, each digit is slightly rotated, shifted or stretched, differently every time. Its label, the right answer, stays the same. So the network learns which differences do not matter and can read handwriting that it has never seen."],
  ["Ensemble", "An ensemble consists of several networks that started training with different random weights. It averages their probabilities. If only one network makes a mistake, the others outvote it."],
  ["Loss", "The loss measures how wrong an answer is, as one number. Here it is minus the natural logarithm of the probability of the right label: 0 if the network is certain of it, 0.7 at 50 %, 4.6 at 1 %. Learning means making the loss smaller."],
  ["Gradient", "The gradient of the loss for a number says how the loss changes when this number grows a little: 2 means that the loss grows twice as much, −2 that it falls twice as much. Every weight and every value of the network has one. A step of learning moves each weight against its gradient."],
  ["Learning rate", "The learning rate says how far a step goes: each weight changes by its gradient times the learning rate. If it is too small, learning takes very long. If it is too large, steps go past the lowest point, and the loss grows instead of falling."],
  ["Momentum", "With momentum, a step is not the present gradient alone: 90 % of the step before is added to it. Like a ball that rolls downhill, the weights get faster where many gradients point the same way, and they swing less from side to side."],
  ["Back-propagation", "Back-propagation calculates all gradients in one pass, from the last layer to the first. At the outputs, the gradient is the probability minus the right answer. Each layer then passes on to every value that it read the sum of: the gradient of each result, times how much this value changes that result. During training, all weights then move a little, many thousand times. The mode Learn shows one such step."],
];

const KEYS = [
  ["← →", "along the headings; ↓ enters the pictures of a column"],
  ["← → ↑ ↓", "among the pictures, and on into the next column"],
  ["Enter", "opens; Escape goes a level up"],
  ["4 2 Enter", "jumps to channel 42 of the column"],
  ["[ ]", "the previous and the next column"],
];

let dialog = null;
let keys = null;

/** Show the keys. */
export function showKeys() {
  if (!keys) {
    keys = h("dialog.dialog", { id: "map-keys-help", aria: { labelledby: "keys-title" } },
      h("form", { method: "dialog" }, h("h2", { id: "keys-title" }, "Keys of the map"),
        h("dl.key-list", KEYS.map(([key, text]) => [h("dt", key), h("dd", text)]).flat()), h("button", "Close")));
    document.body.append(keys);
  }
  keys.showModal();
}

/** Show the words. */
export function showGlossary() {
  loadStyle().catch(() => {});
  if (!dialog) {
    dialog = h("dialog.dialog.glossary-dialog", { aria: { labelledby: "glossary-title" } },
      h("form", { method: "dialog" }, h("h2", { id: "glossary-title" }, "Words"), h("button", "Close")),
      h("dl.glossary", WORDS.map(([word, text]) => [h("dt", word), h("dd", text)]).flat()));
    document.body.append(dialog);
  }
  dialog.showModal();
}
