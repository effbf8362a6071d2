/**
 * A picture that keyboard and screen readers see as a grid: arrow keys move the cursor, Enter opens a cell.
 *
 * The grid has a single cell element, which moves with the cursor. Its aria-rowindex and aria-colindex
 * say where it is. A picture of thousands of values therefore needs only three elements.
 */

import { h } from "./dom.js";

let gridCount = 0;

/**
 * @param {object} options
 * @param {string} options.label The grid's accessible name.
 * @param {(index: number) => string} options.describe Returns a cell's content in words.
 * @param {(index: number) => void} [options.open] Called when the user chooses a cell.
 * @param {(index: number) => void} [options.move] Called when the cursor or the mouse reaches a cell.
 * @param {number} [options.gap] Distance between cells, in pixels of the canvas.
 */
export class Grid {
  constructor({ label, describe, open = null, move = null, gap = 0 }) {
    gridCount += 1;
    Object.assign(this, { describe, open, move, gap, size: 0, columns: 1, cursor: 0, cellHeight: 1, cellWidth: 1 });
    this.canvas = h("canvas", { aria: { hidden: "true" } });
    this.cell = h("div.cell", { role: "gridcell", id: `cell-${gridCount}` }, h("span.visually-hidden"));
    this.row = h("div", { role: "row" }, this.cell);
    this.overlay = h("div.overlay", { role: "grid", tabindex: "0", aria: { label, readonly: "true", activedescendant: `cell-${gridCount}` } }, this.row);
    this.badges = h("div.badges", { aria: { hidden: "true" } });
    this.readout = h("p.readout", { aria: { hidden: "true" } }, "\u00a0");
    this.legend = h("div");
    this.element = h("div.grid", h("div.stack", this.canvas, this.badges, this.overlay), h("div.foot", this.legend, this.readout));
    this.stack = this.element.firstChild;
    this.overlay.addEventListener("keydown", (event) => this.#onKey(event));
    this.overlay.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    this.overlay.addEventListener("pointerleave", () => { this.#showCell(this.cursor, document.activeElement === this.overlay); });
    this.overlay.addEventListener("click", (event) => this.#onClick(event));
    this.overlay.addEventListener("focus", () => this.#showCell(this.cursor, true));
  }

  /** Set the number of cells, the cells in a row, and the size of a cell in pixels of the canvas. */
  setLayout(size, columns, cellHeight = 1, cellWidth = 1) {
    Object.assign(this, { size, columns, cellHeight, cellWidth, cursor: Math.min(this.cursor, size - 1) });
    this.overlay.setAttribute("aria-rowcount", Math.ceil(size / columns));
    this.overlay.setAttribute("aria-colcount", Math.min(columns, size));
    this.#placeCursor();
  }

  /** Set the displayed width of the canvas, in CSS pixels. */
  setWidth(width) {
    this.stack.style.width = `${width}px`;
  }

  /** Show a word on some cells. */
  mark(indices, word) {
    this.badges.replaceChildren(...indices.map((index) => {
      const badge = h("span.badge", word);
      this.#placeElement(badge, index);
      return badge;
    }));
  }

  /** Move the cursor to a cell. */
  select(index) {
    this.cursor = index;
    this.#placeCursor();
    this.#showCell(index, true);
  }

  focus() {
    this.overlay.focus();
  }

  #placeElement(element, index) {
    const row = Math.floor(index / this.columns);
    const column = index % this.columns;
    const rows = Math.ceil(this.size / this.columns);
    const height = rows * (this.cellHeight + this.gap) - this.gap;
    const width = this.columns * (this.cellWidth + this.gap) - this.gap;
    element.style.top = `${(100 * row * (this.cellHeight + this.gap)) / height}%`;
    element.style.left = `${(100 * column * (this.cellWidth + this.gap)) / width}%`;
    element.style.height = `${(100 * this.cellHeight) / height}%`;
    element.style.width = `${(100 * this.cellWidth) / width}%`;
  }

  #placeCursor() {
    this.#placeElement(this.cell, this.cursor);
    this.row.setAttribute("aria-rowindex", Math.floor(this.cursor / this.columns) + 1);
    this.cell.setAttribute("aria-colindex", (this.cursor % this.columns) + 1);
    this.cell.firstChild.textContent = this.size ? this.describe(this.cursor) : "";
  }

  /** Describe the cursor's cell again, after its value has changed. */
  refresh() {
    this.#placeCursor();
  }

  #showCell(index, visible) {
    this.readout.textContent = visible && this.size ? this.describe(index) : "\u00a0";
    if (visible && this.size) this.move?.(index);
  }

  /** Return the index of the cell under the pointer, or null. */
  #cellAt(event) {
    const box = this.overlay.getBoundingClientRect();
    const rows = Math.ceil(this.size / this.columns);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const index = row * this.columns + column;
    return column >= 0 && column < this.columns && index >= 0 && index < this.size ? index : null;
  }

  #onPointerMove(event) {
    const index = this.#cellAt(event);
    if (index !== null) this.#showCell(index, true);
  }

  #onClick(event) {
    const index = this.#cellAt(event);
    if (index === null) return;
    this.select(index);
    this.open?.(index);
  }

  #onKey(event) {
    if (!this.size) return;
    const start = this.cursor - (this.cursor % this.columns);
    const steps = {
      ArrowLeft: this.cursor > start ? this.cursor - 1 : this.cursor,
      ArrowRight: Math.min(this.cursor + 1, start + this.columns - 1, this.size - 1),
      ArrowUp: this.cursor - this.columns,
      ArrowDown: this.cursor + this.columns,
      Home: event.ctrlKey ? 0 : start,
      End: event.ctrlKey ? this.size - 1 : Math.min(start + this.columns, this.size) - 1,
      PageUp: this.cursor % this.columns,
      PageDown: this.cursor + this.columns * Math.floor((this.size - 1 - this.cursor) / this.columns),
    };
    if (event.key in steps) {
      event.preventDefault();
      const index = steps[event.key];
      if (index >= 0 && index < this.size) this.select(index);
    } else if ((event.key === "Enter" || event.key === " ") && this.open) {
      event.preventDefault();
      this.open(this.cursor);
    }
  }
}
