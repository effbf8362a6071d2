/**
 * Colour maps, computed in OKLab (Ottosson, 2020, https://bottosson.github.io/posts/oklab/), so that
 * equal steps of a value are equal steps of lightness to the eye.
 */

const DARK = matchMedia("(prefers-color-scheme: dark)");

/** OKLCH to sRGB, 0..255 each; null outside of what a screen shows. */
function rgb(lightness, chroma, hue) {
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

/** The same, with as much of the chroma as a screen shows. */
function shown(lightness, chroma, hue) {
  for (let part = chroma; part > 0; part -= 0.004) {
    const found = rgb(lightness, part, hue);
    if (found) return found;
  }
  return rgb(lightness, 0, 0);
}

/** 256 colours as 0xAABBGGRR, the order of canvas pixels on every machine that runs browsers. */
function tableOf(colour) {
  return Uint32Array.from({ length: 256 }, (_, at) => {
    const [red, green, blue] = colour(at / 255);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

/** Dark indigo over teal to light yellow; lightness grows evenly. */
const SEQUENTIAL = tableOf((t) => shown(0.17 + 0.77 * t, 0.05 + 0.14 * Math.min(1, 1.8 * t), 295 - 190 * t));
const GREY = tableOf((t) => [255 * t, 255 * t, 255 * t].map(Math.round));

/** Blue over a neutral middle to orange red; lightness changes evenly and alike on both sides. */
function divergingTable(middle, end) {
  return tableOf((t) => {
    const size = Math.abs(2 * t - 1);
    return shown(middle + (end - middle) * size, 0.19 * size, t < 0.5 ? 255 : 38);
  });
}
const ON_LIGHT = divergingTable(0.97, 0.47);
const ON_DARK = divergingTable(0.24, 0.78);

/** @typedef {"sequential"|"diverging"|"grey"} Map */

/** The 256 colours of a map, for the present colour scheme. */
export function colours(map) {
  if (map === "grey") return GREY;
  if (map === "sequential") return SEQUENTIAL;
  return DARK.matches ? ON_DARK : ON_LIGHT;
}

/** What a channel is filled with in which every value is the same. */
export const neutral = () => (DARK.matches ? 0xff4a443f : 0xffc9cdd0);

/** Call a function when the colour scheme changes. */
export const onColourScheme = (listener) => DARK.addEventListener("change", listener);

/** Choose a map and its ends: diverging and symmetric about 0 where there is anything below 0. */
export function scaleOf(low, high) {
  if (low < 0) {
    const limit = Math.max(-low, high);
    return { map: "diverging", low: -limit, high: limit };
  }
  return { map: "sequential", low: Math.min(0, low), high };
}

/** The index of a value in a map. */
export function indexOf(value, scale) {
  const span = scale.high - scale.low;
  if (!(span > 0)) return scale.map === "diverging" ? 127 : 0;
  return Math.min(255, Math.max(0, Math.round((255 * (value - scale.low)) / span)));
}

/** A value's colour for CSS, and the ink that can be read on it. */
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
