// Colours, numbers and axes: what all panels draw with.

export const MISSING = -128;
const LEVELS = 100; // of a colour map, on either side of zero

export const theme = {
  ink: "", soft: "", line: "", grid: "", series: [], font: "", diverging: new Uint32Array(0), spike: 0, missing: 0,
};

/** Read the colours of the style sheet, and make a diverging colour map for a light or a dark page. */
export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  for (const name of ["ink", "soft", "line", "grid"]) theme[name] = read(name);
  theme.font = `11px ${style.fontFamily}`;
  theme.series = ["first", "second", "third", "fourth"].map(read);
  theme.diverging = diverging(dark);
  theme.spike = dark ? oklch(0.9, 0, 0) : oklch(0.22, 0, 0);
  theme.missing = oklch(0.6, 0.27, 330);
}

/** Blue, then the colour of the panel, then orange: lightness falls (or rises) evenly to both sides, as the eye sees it,
 *  and colour-blind people tell the two sides apart. */
function diverging(dark) {
  const [middle, end, chroma] = dark ? [0.24, 0.86, 0.11] : [0.99, 0.5, 0.14];
  const map = new Uint32Array(2 * LEVELS + 1);
  for (let k = -LEVELS; k <= LEVELS; k++) {
    const share = Math.abs(k) / LEVELS;
    map[k + LEVELS] = oklch(middle + (end - middle) * share, chroma * Math.sqrt(share), k < 0 ? 250 : 50);
  }
  return map;
}

/** A colour from lightness, chroma and hue in degrees (Ottosson's OKLab) as ImageData has it in a little-endian word. */
function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const [red, green, blue] = linear.map((c) => {
    const bounded = Math.min(Math.max(c, 0), 1);
    return Math.round(255 * (bounded <= 0.0031308 ? 12.92 * bounded : 1.055 * bounded ** (1 / 2.4) - 0.055));
  });
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Colour of a value that is 1 at one end of the map and -1 at the other. */
export function shade(value) {
  return theme.diverging[Math.round(Math.min(Math.max(value, -1), 1) * LEVELS) + LEVELS];
}

/** The colour map as a bar. */
export function drawBar(canvas) {
  canvas.width = theme.diverging.length;
  canvas.height = 1;
  const image = new ImageData(canvas.width, 1);
  new Uint32Array(image.data.buffer).set(theme.diverging);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// --- numbers ---------------------------------------------------------------------------------------------------------

/** Few letters for a number. */
export function short(x, digits = 3) {
  if (!Number.isFinite(x)) return x === null || Number.isNaN(x) ? "–" : x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  let text;
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
    text = `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${Number(exponent)}`;
  } else if (size >= 10 ** digits || Number.isInteger(x)) {
    text = grouped(Math.round(x));
  } else {
    text = String(Number(x.toPrecision(digits)));
  }
  return text.replaceAll("-", "−");
}

/** A whole number in groups of three. */
export function grouped(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** 1, 2 or 5 times a power of ten that is not smaller. */
export function nice(x) {
  if (!(x > 0)) return 0;
  const power = 10 ** Math.floor(Math.log10(x));
  return ([1, 2, 5].find((k) => k * power >= x * (1 - 1e-9)) ?? 10) * power;
}

/** Round numbers that hold all values, and where to put labels: [lowest, highest, step]. */
export function bounds(low, high, steps = 3) {
  if (!(low <= high)) return [0, 1, 1];
  if (high - low < 1e-9 * Math.max(Math.abs(low), Math.abs(high), 1e-12)) {
    const size = Math.abs(low) || 1;
    [low, high] = [low - size / 2, high + size / 2];
  }
  const step = nice((high - low) / steps);
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step, step];
}

// --- canvases --------------------------------------------------------------------------------------------------------

/** Make a canvas as sharp as the screen and empty it; its context in CSS pixels, and its size. */
export function cleared(canvas, height) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (height !== undefined && canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
  const tall = height ?? canvas.clientHeight;
  const [w, h] = [Math.round(width * scale), Math.round(tall * scale)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, w, h);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = theme.font;
  context.fillStyle = theme.soft;
  context.lineWidth = 1;
  return { context, width, height: tall, scale };
}

/** A label. */
export function label(context, text, x, y, align = "left", baseline = "middle") {
  context.fillStyle = theme.soft;
  context.textAlign = align;
  context.textBaseline = baseline;
  context.fillText(text, x, y);
}

/** A thin line from one point to another that covers whole pixels where it is level or upright. */
export function rule(context, x0, y0, x1, y1, colour = theme.line) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  context.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.stroke();
}
