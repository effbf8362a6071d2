/** The gradient of one number as the sum of its products, with the finite difference that checks it. */

import { go } from "./address.js";
import { disclosure, h, number, position, table } from "./dom.js";

const MAX_TERMS = 8; // that are listed with bars
const AWAY = "↗"; // marks a link that leaves the mode
const DIGITS = 6; // of gradients: -0.999998 is not -1

/**
 * Return the elements that show where a gradient comes from.
 *
 * @param {object} answer The response of `/layers/{layer}/gradient-unit`.
 */
export function gradientSum(answer) {
  const { layer, weight, value, gradient, sentence, equation, terms } = answer;
  const name = weight ? `${weight.name}[${weight.index.join(", ")}]` : "this value";
  return [h("div.gradient-sum", { data: { gradient, layer: layer.name } },
    h("div",
      h("h3", `The gradient of ${name} is ${number(gradient, DIGITS)}`),
      h("p", `The value is ${number(value)} before the first step. ${sentence}`),
      terms.length ? listed(answer) : h("p.notes", "No product adds to it."),
      h("p.equation", h("code", equation))),
    check(answer))];
}

/** Show the largest products, the others as one, and their sum. */
function listed({ terms, gradient, omitted, count }) {
  const rows = terms.slice(0, MAX_TERMS);
  const rest = terms.slice(MAX_TERMS).reduce((sum, { product }) => sum + product, omitted.sum);
  const restCount = terms.length - rows.length + omitted.count;
  const largest = Math.max(...rows.map(({ product }) => Math.abs(product)), Math.abs(rest)) || 1;
  const common = commonWords(rows);
  const shownTerm = ({ factors, product }) => row(h("span", factors.flatMap((factor, at) => [at ? " × " : null, shown(factor, !common)])), product, largest);
  return h("div", h("h3", count === 1 ? "What it comes from" : `The ${count} ${rows[0].factors.length > 1 ? "products" : "numbers"} that add up to it`),
    common ? h("p.notes", common) : null,
    rows.some(({ factors }) => factors.some(leavesLearn)) ? h("p.notes", `A number with ${AWAY} leaves Learn: Look inside shows how it comes about. Back returns here.`) : null,
    h("ol.products", rows.map(shownTerm), restCount ? row(h("span", `${restCount} more`), rest, largest) : null,
      h("li.total", h("b", "sum"), h("span"), h("b", h("code", number(gradient, DIGITS))))),
    terms.length > MAX_TERMS ? disclosure(`Table of ${terms.length} products`, () => table("The products, largest first", ["product", "factors"],
      [...terms.map(({ factors, product }) => [number(product, 6), factors.map((factor) => `${number(factor.value, 6)}, ${wordsOf(factor)}`).join(" × ")]), ...(omitted.count ? [[number(omitted.sum, 6), `${omitted.count} smaller products`]] : [])])) : null);
}

/** Return the words of the factors if they are the same in all of several products, so that they are said once. */
function commonWords(terms) {
  const words = terms.map(({ factors }) => factors.map(({ what }) => what).join(" × "));
  return terms.length > 1 && terms[0].factors.length > 1 && words.every((text) => text === words[0]) ? `Each: ${words[0]}.` : null;
}

function row(start, value, largest) {
  const item = h("li", start, h("span.signed", h(value < 0 ? "span.part.negative" : "span.part")), h("code", number(value)));
  item.style.setProperty("--size", Math.abs(value) / largest);
  return item;
}

const placeOf = ({ channel, y, x }) => [y === null ? null : x === null ? `row ${y}` : position(y, x), `channel ${channel}`].filter(Boolean).join(", ");

const addressOf = ({ layer, unit }) => (layer && unit ? `${layer.name}, ${placeOf(unit)}` : "");

const wordsOf = (factor) => [factor.what, addressOf(factor)].filter(Boolean).join(": ");

/** Return where a factor leads: to the sum behind a gradient, or to the sum behind a value; null if nowhere. */
function targetOf({ kind, layer, unit }) {
  if (!layer || !unit || kind === "derivative") return null;
  const at = { layer: layer.name, channel: unit.channel, y: unit.y, x: unit.x };
  return kind === "gradient" ? { at } : { mode: "look", at };
}

const leavesLearn = (factor) => targetOf(factor)?.mode !== undefined;

/** Return a factor: a button, if it leads further. */
function shown(factor, withWords) {
  const to = targetOf(factor);
  const content = [h("code", number(factor.value)), " ", h("small", withWords ? wordsOf(factor) : addressOf(factor))];
  if (!to) return h("span.factor", { data: { kind: factor.kind } }, content);
  const away = leavesLearn(factor) ? [h("span", { aria: { hidden: "true" } }, ` ${AWAY}`), h("span.visually-hidden", ", leaves Learn")] : null;
  return h("button.link.factor", { type: "button", data: { kind: factor.kind }, title: `${wordsOf(factor)}. ${away ? "Leave Learn and look how this value comes about" : "See where this gradient comes from"}`, on: { click: () => go(to) } }, content, away);
}

/** Show the finite difference. */
function check({ finite_difference: difference, loss, gradient }) {
  if (!difference) return null;
  const entry = (name, value) => h("div", h("dt", name), h("dd", h("code", value)));
  return h("div.difference", h("h3", "Checked by trying"),
    h("p.notes", difference.sentence),
    h("dl.facts", entry("loss before the first step", number(loss, 10)), entry(`with ${number(difference.epsilon, 3)} more`, number(difference.loss_plus, 10)),
      entry(`with ${number(difference.epsilon, 3)} less`, number(difference.loss_minus, 10)), entry("difference ÷ step", number(difference.gradient, DIGITS)),
      entry("by the products", number(gradient, DIGITS)), entry("relative error", number(difference.relative_error, 2))));
}
