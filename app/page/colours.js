/**
 * Colour maps. They are computed in OKLab (Ottosson, 2020, https://bottosson.github.io/posts/oklab/), so
 * that equal steps of a value look like equal steps of lightness.
 */

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Convert OKLCH to sRGB, 0 to 255 each. `warmth` is added to the yellow. Returns null for a colour outside sRGB. */
function toRgb(lightness, chroma, hue, warmth = 0) {
  const angle = (hue * Math.PI) / 180;
  const a = chroma * Math.cos(angle);
  const b = chroma * Math.sin(angle) + warmth;
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  if (linear.some((part) => part < -0.0005 || part > 1.0005)) return null;
  return linear.map((part) => {
    const inside = Math.min(1, Math.max(0, part));
    return Math.round(255 * (inside <= 0.0031308 ? 12.92 * inside : 1.055 * inside ** (1 / 2.4) - 0.055));
  });
}

/** Convert OKLCH to sRGB with as much of the chroma as sRGB allows. */
function toRgbInGamut(lightness, chroma, hue, warmth) {
  for (let part = chroma; part > 0; part -= 0.004) {
    const colour = toRgb(lightness, part, hue, warmth);
    if (colour) return colour;
  }
  return toRgb(lightness, 0, 0, warmth);
}

/** Return 256 colours as 0xAABBGGRR, the byte order of canvas pixels on little-endian machines. */
function makePalette(colour) {
  return Uint32Array.from({ length: 256 }, (_, index) => {
    const [red, green, blue] = colour(index / 255);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

const GREY = makePalette((t) => [255 * t, 255 * t, 255 * t].map(Math.round));
const [BLUE, ORANGE] = [270, 56]; // hues, in degrees

/**
 * From orange over the ground to blue: zero is the ground, and the further from zero, the more a colour stands out.
 * On each side, equal steps of a value are equal steps of lightness.
 */
function signedPalette({ ground, warmth, below, above }) {
  return makePalette((t) => {
    const size = Math.abs(2 * t - 1);
    const [end, hue] = t < 0.5 ? [below, ORANGE] : [above, BLUE];
    return toRgbInGamut(ground + (end - ground) * size, 0.21 * size, hue, warmth * (1 - size));
  });
}
const SIGNED = { light: signedPalette({ ground: 0.945, warmth: 0.006, below: 0.52, above: 0.32 }), dark: signedPalette({ ground: 0.265, warmth: 0, below: 0.79, above: 0.93 }) };

/** The half above zero, in 256 steps. */
const upperHalf = (palette) => Uint32Array.from({ length: 256 }, (_, at) => palette[128 + (at >> 1)]);
const POSITIVE = { light: upperHalf(SIGNED.light), dark: upperHalf(SIGNED.dark) };

/** @typedef {"sequential"|"diverging"|"grey"} Map */

/** Return the 256 colours of a map for the current colour scheme. */
export function colours(map) {
  if (map === "grey") return GREY;
  return (map === "sequential" ? POSITIVE : SIGNED)[DARK.matches ? "dark" : "light"];
}

const [EDGE_ON_LIGHT, EDGE_ON_DARK] = [0xff8c8885, 0xff8f857e];

/** Return the colour of the dashed edge of a picture that has the same value everywhere. */
export const edgeColour = () => (DARK.matches ? EDGE_ON_DARK : EDGE_ON_LIGHT);

/**
 * Return the colours of a layer's bytes: zero is the ground, and the layer's percentile has full colour.
 *
 * @param {{low: number, high: number, percentile: number}|null} layer Null for values that have not come yet.
 */
export function fullColourPalette(layer) {
  const palette = colours("diverging");
  if (!layer) return palette.slice(128, 129);
  const { low, high, percentile } = layer;
  const full = percentile || Math.max(Math.abs(low), Math.abs(high)) || 1;
  return Uint32Array.from({ length: 256 }, (_, byte) => palette[indexOf(low + (byte / 255) * (high - low), { map: "diverging", low: -full, high: full })]);
}

/** Return the colour of a channel whose values are all the same. */
export const neutral = () => (DARK.matches ? 0xff4a443f : 0xffc9cdd0);

/** Call a function when the colour scheme changes. */
export const onColourScheme = (listener) => DARK.addEventListener("change", listener);

/** Choose a map and its range: symmetric around 0 if any value is negative, else from 0. */
export function scaleOf(low, high) {
  if (low < 0) {
    const limit = Math.max(-low, high);
    return { map: "diverging", low: -limit, high: limit };
  }
  return { map: "sequential", low: Math.min(0, low), high };
}

/** Return the index of a value's colour, from 0 to 255. */
export function indexOf(value, scale) {
  const span = scale.high - scale.low;
  if (!(span > 0)) return scale.map === "diverging" ? 127 : 0;
  return Math.min(255, Math.max(0, Math.round((255 * (value - scale.low)) / span)));
}

/** Return a value's background colour for CSS, and a text colour with enough contrast. */
export function css(value, scale) {
  const packed = colours(scale.map)[indexOf(value, scale)];
  const parts = [packed & 255, (packed >> 8) & 255, (packed >> 16) & 255];
  const [red, green, blue] = parts.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return { background: `rgb(${parts.join(" ")})`, ink: luminance > 0.179 ? "#000" : "#fff" };
}
