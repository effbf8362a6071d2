/**
 * Where each picture of the map stands. Lengths are CSS pixels.
 *
 * Within a map one network pixel has the same size everywhere: the largest of `SCALES` with which all columns fit.
 */

const SCALES = [8, 6, 5, 4, 3, 2, 1.5, 1]; // CSS pixels for one value of a spatial layer
const MIN_SCALE = 0.25; // for networks with large pictures
const UNIT_SIDES = [10, 8, 6, 5, 4, 3, 2]; // of the square of a value without a place
const MAX_UNITS_WIDTH = 54;
const MIN_SLOT = 54; // width of a column with its heading
const MIN_DISTANCE = 12; // between two columns
const LARGE = 30; // pictures of more pixels stand 2 apart, smaller ones 1
const HEAD = { columns: 38, rows: 17 };
const ROW_DISTANCE = 3; // below the pictures of a row, where the map flows down

/**
 * @typedef {object} Box The pictures of one column of the map.
 * @property {number} x @property {number} y @property {number} width @property {number} height
 * @property {number} slot Width of the column with its heading.
 * @property {number} across @property {number} down Size of one picture.
 * @property {number} gap
 * @property {number} lines Pictures in one line: down each column of pictures, or along each row on narrow windows.
 */

/**
 * Place all columns.
 *
 * @param {import("./columns.js").Column[]} columns
 * @param {{width: number, height: number, flow: "columns"|"rows", outputs: number}} room `outputs` is the width of the
 *   outputs, which stand at the right end and are no pictures.
 * @returns {{flow: string, scale: number, width: number, height: number, head: number, boxes: (Box|null)[]}} A box is
 *   null for a column that is not drawn: the outputs, and the input on narrow windows.
 */
export function layOut(columns, room) {
  const place = room.flow === "rows" ? placeInRows : placeInColumns;
  let layout = null;
  for (const scale of [...SCALES, 0.5, MIN_SCALE]) {
    layout = place(columns, room, scale);
    if (layout.fits) break;
    // Smaller pictures than one pixel for each value only where a single picture is larger than the room.
    if (scale === 1 && columns.every(({ shape }) => shape.length < 3 || Math.max(...shape.slice(0, 2)) < 64)) break;
  }
  return { ...layout, flow: room.flow, head: HEAD[room.flow] };
}

/** Return width and height of one picture. */
function pictureSize({ shape, role }, scale, height) {
  if (role === "outputs") return { across: 0, down: 0, gap: 0 };
  if (shape.length === 1) {
    const side = UNIT_SIDES.find((size) => {
      const lines = Math.max(1, Math.floor((height + 1) / (size + 1)));
      return Math.ceil(shape[0] / lines) * (size + 1) - 1 <= MAX_UNITS_WIDTH;
    }) ?? UNIT_SIDES.at(-1);
    return { across: side, down: side, gap: 1 };
  }
  const [down, across] = shape.length === 3 ? shape : [shape[0], 4 / scale];
  const size = { across: Math.max(1, Math.round(across * scale)), down: Math.max(1, Math.round(down * scale)) };
  return { ...size, gap: Math.max(size.across, size.down) > LARGE ? 2 : 1 };
}

function placeInColumns(columns, { width, height, outputs }, scale) {
  const room = height - HEAD.columns;
  const boxes = columns.map((column) => {
    if (column.role === "outputs") return { slot: outputs };
    const { across, down, gap } = pictureSize(column, scale, room);
    const most = Math.max(1, Math.floor((room + gap) / (down + gap)));
    const beside = Math.ceil(column.channels / most);
    const lines = Math.ceil(column.channels / beside);
    const box = { across, down, gap, lines, width: beside * (across + gap) - gap, height: lines * (down + gap) - gap };
    return { ...box, slot: Math.max(MIN_SLOT, box.width) };
  });
  const used = boxes.reduce((sum, { slot }) => sum + slot, 0);
  const distance = Math.max(MIN_DISTANCE, (width - used) / Math.max(1, boxes.length - 1));
  let x = 0;
  for (const box of boxes) {
    box.x = Math.round(x);
    box.y = HEAD.columns;
    x += box.slot + distance;
  }
  columns.forEach(({ role }, at) => {
    if (role === "input") boxes[at].y = HEAD.columns + Math.max(0, Math.round((room - boxes[at].height) / 2));
  });
  const needed = used + MIN_DISTANCE * (boxes.length - 1);
  const fits = needed <= width && boxes.every((box) => !box.height || box.height <= room);
  return { scale, fits, boxes, width: Math.max(width, Math.ceil(needed)), height };
}

function placeInRows(columns, { width, height }, scale) {
  let y = 0;
  const boxes = columns.map((column) => {
    if (column.role !== "hidden") return null;
    const { across, down, gap } = column.shape.length === 1 ? { across: 7, down: 7, gap: 1 } : pictureSize(column, scale, height);
    const side = column.shape.length === 1 && column.channels > 256 ? 5 : across;
    const tall = column.shape.length === 1 ? side : down;
    const most = Math.max(1, Math.floor((width + gap) / (side + gap)));
    const rows = Math.ceil(column.channels / most);
    const lines = Math.ceil(column.channels / rows);
    const box = { x: 0, y: y + HEAD.rows, across: side, down: tall, gap, lines, slot: width, width: lines * (side + gap) - gap, height: rows * (tall + gap) - gap };
    y = box.y + box.height + ROW_DISTANCE;
    return box;
  });
  return { scale, fits: y <= height && boxes.every((box) => !box || box.width <= width), boxes, width, height: y };
}

/** Return the top left corner of a channel's picture. */
export function cornerOf({ flow }, box, channel) {
  const along = channel % box.lines;
  const line = (channel - along) / box.lines;
  const [column, row] = flow === "rows" ? [along, line] : [line, along];
  return { x: box.x + column * (box.across + box.gap), y: box.y + row * (box.down + box.gap) };
}

/** Return the channel whose picture is at a position, or null. */
export function channelAt({ flow }, box, channels, x, y) {
  const column = Math.floor((x - box.x) / (box.across + box.gap));
  const row = Math.floor((y - box.y) / (box.down + box.gap));
  if (x < box.x || y < box.y || x >= box.x + box.width || y >= box.y + box.height) return null;
  const channel = flow === "rows" ? row * box.lines + column : column * box.lines + row;
  return channel < channels ? channel : null;
}
