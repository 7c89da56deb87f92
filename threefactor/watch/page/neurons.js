// Spikes and voltages of neurons over the last ticks: new ticks alone are coloured, the rest is shifted.

import { MISSING, cleared, grouped, label, rule, shade, theme } from "./draw.js";

const KEPT = 8192; // ticks
const [LEFT, RIGHT, TALL] = [40, 4, 190]; // CSS pixels: margins, and height of the picture about which it is to be

/** Spikes and voltages of the last ticks. */
export class Ticks {
  constructor(neurons) {
    this.neurons = neurons;
    this.spikes = new Uint8Array(KEPT * neurons);
    this.voltages = new Int8Array(KEPT * neurons);
    this.known = new Uint8Array(KEPT);
    this.end = 0; // tick after the last one
  }

  /** Take in `rows` ticks from tick `first`: bits of spikes, and voltages. */
  add(first, rows, bits, voltages) {
    const { neurons } = this;
    for (let tick = Math.max(this.end, first - KEPT); tick < first; tick++) this.known[tick % KEPT] = 0;
    const bytes = Math.ceil(neurons / 8);
    for (let row = 0; row < rows; row++) {
      const slot = (first + row) % KEPT;
      const start = slot * neurons;
      for (let i = 0; i < neurons; i++) this.spikes[start + i] = (bits[row * bytes + (i >> 3)] >> (i & 7)) & 1;
      this.voltages.set(voltages.subarray(row * neurons, (row + 1) * neurons), start);
      this.known[slot] = 1;
    }
    this.end = first + rows;
  }
}

/** A picture that moves to the left: neuron 0 at the bottom, the newest tick at the right. */
class Moving {
  constructor(section, ticks) {
    this.section = section;
    this.ticks = ticks;
    this.canvas = section.querySelector("h2 ~ canvas");
    this.picture = document.createElement("canvas");
    this.painted = -1; // tick up to which the picture is painted
    this.layout = "";
    this.canvas.onpointermove = (event) => this.tell(event);
    this.canvas.onpointerleave = () => this.tell(null);
  }

  /** Paint all anew at the next `draw`. */
  spoil() {
    this.layout = "";
  }

  draw(span) {
    const { neurons } = this.ticks;
    const scale = devicePixelRatio || 1;
    const room = Math.max(Math.floor((this.canvas.clientWidth - LEFT - RIGHT) * scale), 1);
    const merged = Math.max(Math.round(span / room), 1); // ticks of a column
    const wide = Math.max(Math.round(room / span), 1); // device pixels of a column
    const columns = Math.min(Math.floor(room / wide), Math.floor(KEPT / merged) - 1);
    const high = Math.max(Math.floor((TALL * scale) / neurons), 1);
    const layout = [merged, wide, columns, high, scale].join();
    if (layout !== this.layout) {
      this.layout = layout;
      this.picture.width = columns;
      this.picture.height = neurons;
      this.painted = -1;
    }
    this.paint(merged, columns);
    const tall = (neurons * high) / scale;
    const { context } = cleared(this.canvas, Math.ceil(tall) + 17);
    const head = Math.floor((this.ticks.end - 1) / merged) % columns; // column of the newest tick
    const left = Math.round(LEFT * scale);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.imageSmoothingEnabled = false;
    const older = columns - 1 - head;
    if (older) context.drawImage(this.picture, head + 1, 0, older, neurons, left, 0, older * wide, neurons * high);
    context.drawImage(this.picture, 0, 0, head + 1, neurons, left + older * wide, 0, (head + 1) * wide, neurons * high);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.shown = { merged, columns, wide: wide / scale, tall };
    this.drawAxes(context, tall);
  }

  drawAxes(context, tall) {
    const { merged, columns, wide } = this.shown;
    const [ticks, right] = [merged * columns, LEFT + columns * wide];
    rule(context, LEFT - 1, 0, LEFT - 1, tall);
    rule(context, LEFT - 1, tall, right, tall);
    const step = [50, 100, 200, 250, 500, 1000, 2000].find((each) => ticks / each <= 6) ?? 5000;
    for (let ago = 0; ago < ticks; ago += step) {
      const x = right - (ago / merged) * wide;
      rule(context, x, tall, x, tall + 3);
      const text = ago === 0 ? "now" : `−${grouped(ago)}`;
      if (x - LEFT > 20) label(context, text, x, tall + 10, ago === 0 ? "right" : "center");
    }
    label(context, "ticks", LEFT - 6, tall + 10, "right");
    const { neurons } = this.ticks;
    label(context, "0", LEFT - 4, Math.max(tall - 5, 6), "right");
    if (neurons > 1) label(context, String(neurons - 1), LEFT - 4, 6, "right");
    context.save();
    context.translate(9, tall / 2);
    context.rotate(-Math.PI / 2);
    label(context, "neuron", 0, 0, "center");
    context.restore();
  }

  /** Colour the columns that are new. */
  paint(merged, columns) {
    const { end, neurons } = this.ticks;
    if (end === this.painted || end === 0) return;
    const last = Math.floor((end - 1) / merged);
    const first = Math.max(last - columns + 1, this.painted < 0 ? -Infinity : Math.floor(this.painted / merged), 0);
    const image = new ImageData(last - first + 1, neurons);
    const pixels = new Uint32Array(image.data.buffer);
    for (let column = first; column <= last; column++) {
      this.colour(pixels, column - first, image.width, column * merged, merged);
    }
    const context = this.picture.getContext("2d");
    const split = Math.min(columns - (first % columns), image.width); // columns up to the picture's right end
    context.putImageData(image, first % columns, 0, 0, 0, split, neurons);
    if (split < image.width) context.putImageData(image, -split, 0, split, 0, image.width - split, neurons);
    this.painted = end;
  }

  /** Places in the arrays of `Ticks` of what a column shows. */
  slots(tick, merged) {
    const found = [];
    const oldest = Math.max(this.ticks.end - KEPT, 0);
    for (let each = Math.max(tick, oldest); each < Math.min(tick + merged, this.ticks.end); each++) {
      if (this.ticks.known[each % KEPT]) found.push((each % KEPT) * this.ticks.neurons);
    }
    return found;
  }

  /** Say what lies under the pointer. */
  tell(event) {
    const { neurons, end } = this.ticks;
    let text = "";
    if (event && this.shown && end) {
      const { merged, columns, wide, tall } = this.shown;
      const ago = Math.floor((LEFT + columns * wide - event.offsetX) / wide) * merged;
      const neuron = Math.floor((1 - event.offsetY / tall) * neurons);
      const tick = end - 1 - ago;
      const inside = ago >= 0 && ago < merged * columns && neuron >= 0 && neuron < neurons && tick >= 0;
      if (inside && this.ticks.known[tick % KEPT]) {
        text = `neuron ${neuron}, tick −${ago}: ${this.value((tick % KEPT) * neurons + neuron)}`;
      }
    }
    this.section.querySelector(".hover").textContent = text;
  }
}

export class Spikes extends Moving {
  colour(pixels, x, width, tick, merged) {
    const { neurons, spikes } = this.ticks;
    for (const start of this.slots(tick, merged)) {
      for (let i = 0; i < neurons; i++) if (spikes[start + i]) pixels[(neurons - 1 - i) * width + x] = theme.spike;
    }
  }

  value(place) {
    return this.ticks.spikes[place] ? "spike" : "no spike";
  }
}

export class Voltages extends Moving {
  constructor(section, ticks, threshold) {
    super(section, ticks);
    this.threshold = threshold;
  }

  colour(pixels, x, width, tick, merged) {
    const { neurons, voltages } = this.ticks;
    const slots = this.slots(tick, merged);
    if (!slots.length) return;
    for (let i = 0; i < neurons; i++) {
      let [sum, missing] = [0, false];
      for (const start of slots) {
        const value = voltages[start + i];
        if (value === MISSING) missing = true;
        sum += value;
      }
      pixels[(neurons - 1 - i) * width + x] = missing ? theme.missing : shade(sum / slots.length / 100);
    }
  }

  value(place) {
    const voltage = this.ticks.voltages[place];
    return voltage === MISSING ? "not a number" : ((voltage / 100) * this.threshold).toFixed(2).replace("-", "−");
  }
}
