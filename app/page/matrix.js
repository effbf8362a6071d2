/** Small matrices, shown as tables with coloured cells. */

import { css } from "./colours.js";
import { h, number } from "./dom.js";

/**
 * Create a table of a matrix.
 *
 * @param {number[][]} rows
 * @param {object} scale As `scaleOf` returns it.
 * @param {string} caption
 * @param {((y: number, x: number) => void)|null} [choose] Called when the user chooses a cell.
 */
export function matrix(rows, scale, caption, choose = null) {
  return h("table.matrix", h("caption", caption), h("tbody", rows.map((row, y) => h("tr", row.map((value, x) => {
    const colour = css(value, scale);
    const text = Math.abs(value) < 0.01 ? value.toFixed(4).replace(/\.?0+$/, "").replace(/^-0$/, "0").replace("-", "−") : number(value, 3);
    const cell = h("td", choose ? h("button", { type: "button", aria: { label: `${text}, row ${y}, column ${x}: go to this input` }, on: { click: () => choose(y, x) } }, text) : text);
    cell.style.background = colour.background;
    cell.style.color = colour.ink;
    return cell;
  })))));
}
