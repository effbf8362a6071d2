/** Checks a link: what its network does not have is named once, and the nearest place that it has is opened. */

import { MODES, pin, readLink } from "./address.js";
import { readSettings, settingProblems, writeSettings } from "./learning_settings.js";

/**
 * Return the nearest place that exists, and a sentence for each part of a link that could not be used.
 *
 * @param {string} hash The link's part after the `#`.
 * @param {import("./address.js").Place} place What the link asks for.
 * @param {object} network The chosen network, and its `members` if it is an ensemble.
 * @returns {Promise<{place: import("./address.js").Place, problems: string[]}>}
 */
export async function checkPlace(hash, place, { name, layers, classes, members }) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const [model, mode] = [asked.get("m"), asked.get("v")];
  const problems = [];
  if (model && model !== name) problems.push(`There is no network “${model}”: this is ${name}.`);
  if (mode && !MODES.includes(mode)) problems.push(`There is no mode “${mode}”.`);
  const check = (part, nearest) => part && nearest(part, layers.find((layer) => layer.name === part.layer), problems);
  const target = place.target !== null && place.target >= classes.length ? null : place.target;
  if (target !== place.target) problems.push(`${name} has no class ${place.target}.`);
  if (asked.has("t") && place.target === null) problems.push(`${name} has no class “${asked.get("t")}”.`);
  await readLink(hash, "o").catch(() => {
    problems.push("The pinned picture of the link cannot be read.");
    return pin(null);
  });
  problems.push(...settingProblems(place.settings));
  const at = check(place.at, nearestAt);
  const weight = place.weight && nearestWeight(place, layers, problems);
  const off = check(place.off, nearestOff);
  const lane = members.some((member) => member.name === place.lane) ? place.lane : null;
  if (place.lane && !lane) problems.push(`${name} has no member “${place.lane}”.`);
  const settings = { ...place.settings, ...writeSettings(readSettings(place.settings)) };
  return { place: { ...place, at, off, lane, target, weight, settings }, problems };
}

function nearestAt(at, layer, problems) {
  if (!layer) {
    problems.push(`There is no layer “${at.layer}”.`);
    return null;
  }
  const { output_shape: shape } = layer;
  const count = shape.at(-1);
  if (at.channel !== null && at.channel >= count) {
    problems.push(`${at.layer} has no channel ${at.channel}: the last one, ${count - 1}, is shown.`);
    return { ...at, channel: count - 1, y: null, x: null };
  }
  if ((at.y ?? 0) >= (shape.length > 1 ? shape[0] : 1) || (at.x ?? 0) >= (shape.length > 2 ? shape[1] : 1)) {
    problems.push(`${at.layer} has no number at row ${at.y}, column ${at.x ?? 0}: its channel is shown.`);
    return { ...at, y: null, x: null };
  }
  return at;
}

/** Return the weight of a link, or null: the layer that it names is shown. */
function nearestWeight({ at, weight }, layers, problems) {
  const [array, index] = [weight.slice(0, weight.lastIndexOf(":")), weight.slice(weight.lastIndexOf(":") + 1).split(",")];
  const layer = at && layers.find((each) => each.name === at.layer);
  const shape = layer?.weights.find((each) => each.name === array)?.shape;
  if (shape?.length === index.length && index.every((part, axis) => /^\d{1,6}$/.test(part) && Number(part) < shape[axis])) return weight;
  problems.push(`${at?.layer ?? "The network"} has no weight “${weight}”.`);
  return null;
}

function nearestOff(off, layer, problems) {
  if (!layer?.ablatable) {
    problems.push(`No channels of “${off.layer}” can be switched off.`);
    return null;
  }
  const channels = off.channels.filter((channel) => channel < layer.output_shape.at(-1));
  if (channels.length === off.channels.length) return off;
  problems.push(`${off.layer} has no channel ${off.channels.filter((channel) => !channels.includes(channel)).join(", ")}: it cannot be switched off.`);
  return channels.length ? { ...off, channels } : null;
}
