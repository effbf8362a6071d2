/** A few numbers as a table in the colours of their values. */

import { css } from "./colours.js";
import { h, number } from "./dom.js";

/**
 * @param {number[][]} rows
 * @param {object} scale As `scaleOf` gives it.
 * @param {string} caption
 * @param {((y: number, x: number) => void)|null} [choose] What choosing a number does.
 */
export function matrix(rows, scale, caption, choose = null) {
  return h("table.matrix", h("caption", caption), h("tbody", rows.map((row, y) => h("tr", row.map((value, x) => {
    const colour = css(value, scale);
    const text = Math.abs(value) < 0.01 ? value.toFixed(4).replace(/\.?0+$/, "").replace(/^-0$/, "0").replace("-", "−") : number(value, 3);
    const cell = h("td", choose ? h("button", { type: "button", aria: { label: `${text}, row ${y}, column ${x}: go there` }, on: { click: () => choose(y, x) } }, text) : text);
    cell.style.background = colour.background;
    cell.style.color = colour.ink;
    return cell;
  })))));
}
