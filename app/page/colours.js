/**
 * Colour maps. They are computed in OKLab (Ottosson, 2020, https://bottosson.github.io/posts/oklab/), so
 * that equal steps of a value look like equal steps of lightness.
 */

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** Convert OKLCH to sRGB, 0 to 255 each. Returns null for a colour outside sRGB. */
function toRgb(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  const a = chroma * Math.cos(angle);
  const b = chroma * Math.sin(angle);
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
function toRgbInGamut(lightness, chroma, hue) {
  for (let part = chroma; part > 0; part -= 0.004) {
    const colour = toRgb(lightness, part, hue);
    if (colour) return colour;
  }
  return toRgb(lightness, 0, 0);
}

/** Return 256 colours as 0xAABBGGRR, the byte order of canvas pixels on little-endian machines. */
function makePalette(colour) {
  return Uint32Array.from({ length: 256 }, (_, index) => {
    const [red, green, blue] = colour(index / 255);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

/** From dark indigo over teal to light yellow, with evenly growing lightness. */
const SEQUENTIAL = makePalette((t) => toRgbInGamut(0.17 + 0.77 * t, 0.05 + 0.14 * Math.min(1, 1.8 * t), 295 - 190 * t));
const GREY = makePalette((t) => [255 * t, 255 * t, 255 * t].map(Math.round));

/** From blue over a neutral middle to orange red. Lightness changes evenly, and equally on both sides. */
function divergingPalette(middle, end) {
  return makePalette((t) => {
    const size = Math.abs(2 * t - 1);
    return toRgbInGamut(middle + (end - middle) * size, 0.19 * size, t < 0.5 ? 255 : 38);
  });
}
const ON_LIGHT = divergingPalette(0.97, 0.47);
const ON_DARK = divergingPalette(0.24, 0.78);

/** @typedef {"sequential"|"diverging"|"grey"} Map */

/** Return the 256 colours of a map for the current colour scheme. */
export function colours(map) {
  if (map === "grey") return GREY;
  if (map === "sequential") return SEQUENTIAL;
  return DARK.matches ? ON_DARK : ON_LIGHT;
}

/** Return the colour of a channel whose values are all the same. */
export const neutral = () => (DARK.matches ? 0xff4a443f : 0xffc9cdd0);

/** Call a function when the colour scheme changes. */
export const onColourScheme = (listener) => DARK.addEventListener("change", listener);

/** Choose a map and its range: diverging and symmetric around 0 if any value is negative, else sequential. */
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
