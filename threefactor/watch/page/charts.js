// Signals over ticks, returns over episodes, histograms of durations.

import { bounds, cleared, grouped, label, rule, short, theme } from "./draw.js";

const KEPT = 2000; // samples, and returns
const [LEFT, RIGHT, PER_OCTAVE, MEAN_OF] = [44, 6, 16, 20];
const PLACES = ["first", "second", "third", "fourth"];

/** Rows of numbers, of which the last are kept. */
export class Rows {
  constructor(width) {
    this.width = width;
    this.rows = [];
  }

  add(flat) {
    for (let start = 0; start < flat.length; start += this.width) this.rows.push(flat.slice(start, start + this.width));
    if (this.rows.length > KEPT) this.rows.splice(0, this.rows.length - KEPT);
  }
}

/** Level lines with numbers at round values; a function from value to height. */
function vertical(context, width, top, bottom, low, high, step) {
  const place = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  for (let value = low; value <= high + step / 2; value += step) {
    const shown = Math.abs(value) < step / 1e6 ? 0 : value;
    rule(context, LEFT, place(shown), width - RIGHT, place(shown), shown === 0 ? theme.line : theme.grid);
    label(context, short(shown), LEFT - 5, place(shown), "right");
  }
  return place;
}

function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** A small chart for each signal. */
export class Signals {
  constructor(section, names) {
    this.section = section;
    this.history = new Rows(1 + names.length);
    const series = section.querySelector(".series");
    series.replaceChildren();
    this.each = names.map((full) => {
      const [, name, given] = full.match(/^(.*?)\s*(?:\[(.*)\])?$/);
      const unit = given ?? (name === "slope" ? "1/voltage" : "");
      const figure = document.createElement("figure");
      const caption = figure.appendChild(document.createElement("figcaption"));
      const title = caption.appendChild(document.createElement("span"));
      title.textContent = title.title = unit ? `${name} [${unit}]` : name;
      const value = caption.appendChild(document.createElement("output"));
      const canvas = figure.appendChild(document.createElement("canvas"));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${name} over the last ticks`);
      series.append(figure);
      return { name, value, canvas };
    });
  }

  /** Last value of a signal, or undefined. */
  last(name) {
    const place = this.each.findIndex((each) => each.name === name);
    return place < 0 ? undefined : this.history.rows.at(-1)?.[1 + place];
  }

  draw() {
    const { rows } = this.history;
    if (!rows.length) return;
    const [first, last] = [rows[0][0], rows.at(-1)[0]];
    const span = last > first ? `the last ${grouped(last - first)} ticks` : "";
    this.section.querySelector("#signals-span").textContent = span;
    this.each.forEach(({ value, canvas }, k) => {
      value.textContent = short(rows.at(-1)[1 + k]);
      const { context, width, height } = cleared(canvas, 76);
      const [low, high, step] = bounds(...extremes(rows.map((row) => row[1 + k])));
      const place = vertical(context, width, 6, height - 6, low, high, step);
      context.strokeStyle = theme.series[0];
      context.lineWidth = 1.2;
      context.beginPath();
      let pen = false;
      rows.forEach((row, n) => {
        const y = row[1 + k];
        const share = last > first ? (row[0] - first) / (last - first) : n / rows.length;
        const x = LEFT + share * (width - LEFT - RIGHT);
        if (!Number.isFinite(y)) pen = false;
        else if (pen) context.lineTo(x, place(y));
        else context.moveTo(x, place(y));
        pen = Number.isFinite(y);
      });
      context.stroke();
    });
  }
}

/** Dots, and a running mean of the last 20. */
export class Returns {
  constructor(section) {
    this.section = section;
    this.history = new Rows(2);
    this.episodes = 0;
  }

  draw() {
    const returns = this.history.rows.map((row) => row[1]);
    this.section.hidden = !returns.length;
    if (!returns.length) return;
    const means = returns.map((_, k) => {
      const last = returns.slice(Math.max(k - MEAN_OF + 1, 0), k + 1);
      return last.reduce((sum, each) => sum + each, 0) / last.length;
    });
    this.section.querySelector("#returns-last").textContent =
      `last ${short(returns.at(-1))}, mean of ${Math.min(MEAN_OF, returns.length)}: ${short(means.at(-1))}`;
    const { context, width, height } = cleared(this.section.querySelector("canvas"), 150);
    const [low, high, step] = bounds(...extremes(returns));
    const bottom = height - 18;
    const y = vertical(context, width, 6, bottom, low, high, step);
    const first = this.episodes - returns.length;
    const x = (k) => LEFT + 4 + ((k + 0.5) / Math.max(returns.length, 20)) * (width - LEFT - RIGHT - 8);
    label(context, grouped(first + 1), x(0), bottom + 11);
    label(context, "episode", (LEFT + width - RIGHT) / 2, bottom + 11, "center");
    if (returns.length > 20) label(context, grouped(this.episodes), width - RIGHT, bottom + 11, "right");
    context.fillStyle = theme.series[0];
    context.globalAlpha = 0.55;
    returns.forEach((each, k) => {
      if (Number.isFinite(each)) context.fillRect(x(k) - 1.25, y(each) - 1.25, 2.5, 2.5);
    });
    context.globalAlpha = 1;
    context.strokeStyle = theme.series[1];
    context.lineWidth = 1.6;
    context.beginPath();
    means.forEach((each, k) => context.lineTo(x(k), y(each)));
    context.stroke();
  }
}

/** Share of all over duration, both on logarithmic axes, and a table of percentiles. */
export class Durations {
  constructor(section, names) {
    this.section = section;
    this.names = names;
    this.lowest = 0;
    this.counts = [];
    this.longest = [];
    const body = section.querySelector("tbody");
    body.replaceChildren();
    this.cells = names.map((name, k) => {
      const row = body.insertRow();
      const head = row.appendChild(document.createElement("th"));
      head.scope = "row";
      head.className = PLACES[k % PLACES.length];
      head.textContent = name;
      return Array.from({ length: 5 }, () => row.insertCell());
    });
  }

  /** Take in counts of the bins from `lowest` of all histograms, and the longest of each in ns. */
  set(flat, lowest, longest) {
    const bins = flat.length / Math.max(this.names.length, 1);
    this.lowest = lowest;
    this.longest = longest;
    this.counts = this.names.map((_, k) => flat.slice(k * bins, (k + 1) * bins));
  }

  /** Duration in ns that this share of all does not exceed; NaN if there was none. */
  quantile(k, share) {
    const total = this.counts[k].reduce((sum, each) => sum + each, 0);
    if (!total) return NaN;
    const wanted = Math.max(Math.ceil(share * total), 1);
    let seen = 0;
    for (let b = 0; b < this.counts[k].length; b++) {
      seen += this.counts[k][b];
      if (seen >= wanted) return Math.min(2 ** ((this.lowest + b + 1) / PER_OCTAVE), this.longest[k]);
    }
    return this.longest[k];
  }

  draw() {
    const bins = this.counts[0]?.length ?? 0;
    const totals = this.counts.map((each) => each.reduce((sum, count) => sum + count, 0));
    this.cells.forEach((cells, k) => {
      if (!this.counts.length) return;
      const found = [0.5, 0.99, 0.999].map((share) => this.quantile(k, share));
      found.push(totals[k] ? this.longest[k] : NaN);
      found.forEach((ns, i) => (cells[i].textContent = `${short(ns / 1000)} µs`));
      cells[4].textContent = grouped(totals[k]);
    });
    const { context, width, height } = cleared(this.section.querySelector("canvas"), 180);
    if (!bins) return;
    const bottom = height - 18;
    const edge = (b) => (this.lowest + b) / PER_OCTAVE / Math.log2(10) - 3; // decades of µs
    const [from, to] = [edge(0) - 0.05, edge(bins) + 0.05];
    const x = (decades) => LEFT + ((decades - from) / (to - from)) * (width - LEFT - RIGHT);
    const lowest = Math.min(-Math.ceil(Math.log10(Math.max(...totals, 10))), -2);
    const y = (share) => 6 + (Math.log10(share) / lowest) * (bottom - 6);
    for (let power = 0; power >= lowest; power -= 2) {
      rule(context, LEFT, y(10 ** power), width - RIGHT, y(10 ** power), theme.grid);
      label(context, `${short(10 ** (power + 2))} %`, LEFT - 5, y(10 ** power), "right");
    }
    this.drawDecades(context, x, from, to, bottom, width);
    this.counts.forEach((counts, k) => {
      context.strokeStyle = theme.series[k % PLACES.length];
      context.lineWidth = 1.4;
      context.beginPath();
      counts.forEach((count, b) => {
        const high = count ? Math.min(y(count / totals[k]), bottom) : bottom;
        context.lineTo(x(edge(b)), high);
        context.lineTo(x(edge(b + 1)), high);
      });
      context.stroke();
    });
  }

  /** Upright lines at 1, 2 and 5 times each power of ten. */
  drawDecades(context, x, from, to, bottom, width) {
    for (let power = Math.floor(from); power <= to; power++) {
      for (const k of to - from > 3.5 ? [1] : to - from > 2 ? [1, 3] : [1, 2, 5]) {
        const decades = power + Math.log10(k);
        if (decades < from || decades > to) continue;
        rule(context, x(decades), 6, x(decades), bottom, theme.grid);
        if (x(decades) < width - 20) label(context, short(k * 10 ** power), x(decades), bottom + 11, "center");
      }
    }
    label(context, "µs", LEFT - 5, bottom + 11, "right");
  }
}
