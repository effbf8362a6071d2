/**
 * The columns of the map, made from the descriptions of a network's layers alone.
 *
 * A column starts with a layer that calculates something new: a convolution, a dense layer, a pooling, a merge of
 * branches. Padding before it, and normalisation, activation and dropout after it, belong to the same column.
 */

const IMAGE = "image"; // the input of the first layers

/**
 * @typedef {object} Column
 * @property {number} index Its place in the map.
 * @property {string} title
 * @property {object[]} layers Its steps: entries of `/models/{model}/layers`, in order.
 * @property {object|null} shown The step whose values the map shows; null if the picture enters the first column as it is.
 * @property {"input"|"hidden"|"outputs"} role
 * @property {number[]} inputs Indices of the columns that it reads.
 * @property {number[]} shape Shape of the shown values: rows, columns and channels; rows and channels; or units.
 * @property {number} channels
 * @property {string|null} member The member of an ensemble that it belongs to.
 */

/** Return whether a layer only prepares the input of the next one. */
const isPadding = (layer) => /Padding|Cropping/.test(layer.type) && !layer.changes_values;

/** Return whether a layer starts a column. */
function starts(layer) {
  if (layer.inputs.length > 1) return true;
  if (/Pool/.test(layer.type)) return true;
  return layer.weights.some(({ shape }) => shape.length > 1);
}

/** Return the columns of a network, in the order of its layers. */
export function columnsOf({ layers, input_shape: inputShape }) {
  const consumers = new Map(); // how many layers read a layer
  for (const { inputs } of layers) for (const name of inputs) consumers.set(name, (consumers.get(name) ?? 0) + 1);
  const groups = [];
  const groupOf = new Map(); // by the name of a layer
  const paddingOf = new Map(); // padding that waits for the layer that reads it
  for (const layer of layers) {
    const [first] = layer.inputs;
    const before = groupOf.get(first);
    if (isPadding(layer) && consumers.get(layer.name) === 1) {
      paddingOf.set(layer.name, [...(paddingOf.get(first) ?? []), layer]);
      continue;
    }
    const padding = layer.inputs.flatMap((name) => paddingOf.get(name) ?? []);
    const joins = before && !padding.length && !starts(layer) && consumers.get(first) === 1;
    const opensInput = !before && first === IMAGE && !starts(layer);
    const group = joins ? before : { layers: [...padding], input: opensInput };
    if (!joins) groups.push(group);
    group.layers.push(layer);
    for (const step of group.layers) groupOf.set(step.name, group);
  }
  const columns = groups.map((group) => describe(group, groups, groupOf));
  return withInput(columns, inputShape);
}

function describe(group, groups, groupOf) {
  const { layers } = group;
  const shown = layers.findLast((layer) => layer.changes_values) ?? layers.at(-1);
  const isLast = layers.at(-1) === groups.at(-1).layers.at(-1);
  const inputs = new Set(layers.flatMap((layer) => layer.inputs).map((name) => groups.indexOf(groupOf.get(name))).filter((at) => at >= 0));
  inputs.delete(groups.indexOf(group));
  return {
    layers, shown, inputs: [...inputs], shape: shown.output_shape, channels: shown.output_shape.at(-1),
    role: group.input ? "input" : isLast ? "outputs" : "hidden",
    member: memberOf(layers[0].name),
    title: group.input ? "input" : isLast ? "outputs" : titleOf(layers),
  };
}

/** Add a first column for the picture if no layer prepares it, and number the columns. */
function withInput(columns, inputShape) {
  const all = [...columns];
  if (!columns.some(({ role }) => role === "input")) {
    all.unshift({ layers: [], shown: null, inputs: [], shape: inputShape, channels: 1, role: "input", member: null, title: "input" });
    for (const column of columns) column.inputs = column.inputs.length ? column.inputs.map((at) => at + 1) : [0];
  }
  return all.map((column, index) => ({ ...column, index }));
}

/** Return the member of an ensemble that a layer's name says: `deep-2` of `deep-2/conv_1`. */
export const memberOf = (name) => (name.includes("/") ? name.slice(0, name.indexOf("/")) : null);

/** Return a column's heading: `conv 1·2` for the layer `conv_1_2`. */
function titleOf(layers) {
  const main = layers.find(starts) ?? layers[0];
  const name = main.name.slice(main.name.indexOf("/") + 1);
  return name.replace(/_(?=\d)/, " ").replaceAll(/(\d)_(?=\d)/g, "$1·").replaceAll("_", " ");
}

/** Return the shape in words: `14×14 ×32`, `128 units`, or `softmax`. */
export function shapeText({ shape, role, shown }) {
  if (role === "input") return shape.slice(0, 2).join("×");
  if (role === "outputs") return shown.activation ?? `${shape.at(-1)} units`;
  return shape.length === 1 ? `${shape[0]} units` : `${shape.slice(0, -1).join("×")} ×${shape.at(-1)}`;
}

/**
 * Return the members of an ensemble: networks that share only the picture and are joined by the last layer.
 *
 * @param {Column[]} columns
 * @returns {{name: string, columns: Column[], last: object}[]} Empty if the network is no ensemble.
 */
export function membersOf(columns) {
  const vote = columns.at(-1);
  if (vote.role !== "outputs" || vote.inputs.length < 2 || columns.some(({ member, index }) => member === null && index !== vote.index && index !== 0)) return [];
  const names = [...new Set(columns.map(({ member }) => member))].filter((name) => name !== null);
  return names.map((name) => {
    const own = columns.filter(({ member }) => member === name);
    return { name, columns: own, last: own.at(-1).shown };
  });
}

/** Return one member's columns as a map of its own: numbered from 0, the last one as its outputs. */
export function memberColumns({ columns }) {
  const numbers = new Map(columns.map(({ index }, at) => [index, at]));
  return columns.map((column, at) => ({
    ...column, index: at, inputs: column.inputs.filter((input) => numbers.has(input)).map((input) => numbers.get(input)),
    ...(at === columns.length - 1 && { role: "outputs", title: "outputs" }),
  }));
}

/** Return the column that has a layer among its steps, or undefined. */
export const columnOf = (columns, layerName) => columns.find(({ layers }) => layers.some(({ name }) => name === layerName));
