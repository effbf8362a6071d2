/**
 * A picture that is a grid to the keyboard and to screen readers: arrow keys move, Enter opens.
 *
 * The grid holds one cell, which stands where the cursor is; its place in rows and columns is said
 * by aria-rowindex and aria-colindex. A picture of thousands of values so costs three elements.
 */

import { h } from "./dom.js";

let made = 0;

/**
 * @param {object} options
 * @param {string} options.label What the grid shows.
 * @param {(at: number) => string} options.describe What stands at a place, in words.
 * @param {(at: number) => void} [options.open] When a place is chosen.
 * @param {(at: number) => void} [options.move] When the cursor or the mouse comes to a place.
 * @param {number} [options.gap] Pixels of the canvas between cells.
 */
export class Grid {
  constructor({ label, describe, open = null, move = null, gap = 0 }) {
    made += 1;
    Object.assign(this, { describe, open, move, gap, size: 0, columns: 1, at: 0, cellHeight: 1, cellWidth: 1 });
    this.canvas = h("canvas", { aria: { hidden: "true" } });
    this.cell = h("div.cell", { role: "gridcell", id: `cell-${made}` }, h("span.visually-hidden"));
    this.row = h("div", { role: "row" }, this.cell);
    this.overlay = h("div.overlay", { role: "grid", tabindex: "0", aria: { label, readonly: "true", activedescendant: `cell-${made}` } }, this.row);
    this.badges = h("div.badges", { aria: { hidden: "true" } });
    this.readout = h("p.readout", { aria: { hidden: "true" } }, "\u00a0");
    this.legend = h("div");
    this.element = h("div.grid", h("div.stack", this.canvas, this.badges, this.overlay), h("div.foot", this.legend, this.readout));
    this.stack = this.element.firstChild;
    this.overlay.addEventListener("keydown", (event) => this.#onKey(event));
    this.overlay.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    this.overlay.addEventListener("pointerleave", () => { this.#showCell(this.at, document.activeElement === this.overlay); });
    this.overlay.addEventListener("click", (event) => this.#onClick(event));
    this.overlay.addEventListener("focus", () => this.#showCell(this.at, true));
  }

  /** Say how many cells there are, how many in a row, and the size of one in pixels of the canvas. */
  lay(size, columns, cellHeight = 1, cellWidth = 1) {
    Object.assign(this, { size, columns, cellHeight, cellWidth, at: Math.min(this.at, size - 1) });
    this.overlay.setAttribute("aria-rowcount", Math.ceil(size / columns));
    this.overlay.setAttribute("aria-colcount", Math.min(columns, size));
    this.#placeCursor();
  }

  /** Enlarge the canvas to a width in CSS pixels. */
  setWidth(width) {
    this.stack.style.width = `${width}px`;
  }

  /** Mark some cells with a word. */
  mark(places, word) {
    this.badges.replaceChildren(...places.map((at) => {
      const badge = h("span.badge", word);
      this.#placeElement(badge, at);
      return badge;
    }));
  }

  /** Put the cursor on a cell. */
  select(at) {
    this.at = at;
    this.#placeCursor();
    this.#showCell(at, true);
  }

  focus() {
    this.overlay.focus();
  }

  #placeElement(element, at) {
    const row = Math.floor(at / this.columns);
    const column = at % this.columns;
    const rows = Math.ceil(this.size / this.columns);
    const height = rows * (this.cellHeight + this.gap) - this.gap;
    const width = this.columns * (this.cellWidth + this.gap) - this.gap;
    element.style.top = `${(100 * row * (this.cellHeight + this.gap)) / height}%`;
    element.style.left = `${(100 * column * (this.cellWidth + this.gap)) / width}%`;
    element.style.height = `${(100 * this.cellHeight) / height}%`;
    element.style.width = `${(100 * this.cellWidth) / width}%`;
  }

  #placeCursor() {
    this.#placeElement(this.cell, this.at);
    this.row.setAttribute("aria-rowindex", Math.floor(this.at / this.columns) + 1);
    this.cell.setAttribute("aria-colindex", (this.at % this.columns) + 1);
    this.cell.firstChild.textContent = this.size ? this.describe(this.at) : "";
  }

  /** Say a cell's words anew, after its value changed. */
  refresh() {
    this.#placeCursor();
  }

  #showCell(at, there) {
    this.readout.textContent = there && this.size ? this.describe(at) : "\u00a0";
    if (there && this.size) this.move?.(at);
  }

  #cellAt(event) {
    const box = this.overlay.getBoundingClientRect();
    const rows = Math.ceil(this.size / this.columns);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const at = row * this.columns + column;
    return column >= 0 && column < this.columns && at >= 0 && at < this.size ? at : null;
  }

  #onPointerMove(event) {
    const at = this.#cellAt(event);
    if (at !== null) this.#showCell(at, true);
  }

  #onClick(event) {
    const at = this.#cellAt(event);
    if (at === null) return;
    this.select(at);
    this.open?.(at);
  }

  #onKey(event) {
    if (!this.size) return;
    const start = this.at - (this.at % this.columns);
    const steps = {
      ArrowLeft: this.at > start ? this.at - 1 : this.at,
      ArrowRight: Math.min(this.at + 1, start + this.columns - 1, this.size - 1),
      ArrowUp: this.at - this.columns,
      ArrowDown: this.at + this.columns,
      Home: event.ctrlKey ? 0 : start,
      End: event.ctrlKey ? this.size - 1 : Math.min(start + this.columns, this.size) - 1,
      PageUp: this.at % this.columns,
      PageDown: this.at + this.columns * Math.floor((this.size - 1 - this.at) / this.columns),
    };
    if (event.key in steps) {
      event.preventDefault();
      const at = steps[event.key];
      if (at >= 0 && at < this.size) this.select(at);
    } else if ((event.key === "Enter" || event.key === " ") && this.open) {
      event.preventDefault();
      this.open(this.at);
    }
  }
}
