// Matrices as heat maps: eligibility traces, and the change of weights.

import { MISSING, cleared, nice, shade, short } from "./draw.js";

const [TALL, SMALLEST, LEVELS] = [100, 12, 127];

export class Matrices {
  /** `matrices`: name to rows and columns. Entries that are not a number are left empty. */
  constructor(section, matrices) {
    this.section = section;
    const maps = section.querySelector(".maps");
    maps.replaceChildren();
    this.each = Object.entries(matrices).map(([name, [rows, columns]]) => {
      const figure = document.createElement("figure");
      const caption = figure.appendChild(document.createElement("figcaption"));
      caption.appendChild(document.createElement("span")).textContent = `${name} ${rows}×${columns}`;
      const scale = caption.appendChild(document.createElement("output"));
      const canvas = figure.appendChild(document.createElement("canvas"));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${section.querySelector("h2").firstChild.textContent.trim()} of ${name}`);
      figure.style.flexGrow = Math.sqrt(columns);
      maps.append(figure);
      const picture = document.createElement("canvas"); // a pixel for each entry
      [picture.width, picture.height] = [columns, rows];
      const entries = new Int8Array(rows * columns);
      const map = { name, rows, columns, picture, canvas, scale, shown: 0, size: 0, entries };
      canvas.onpointermove = (event) => this.tell(map, event);
      canvas.onpointerleave = () => this.tell(map, null);
      return map;
    });
  }

  /** Take in entries of all matrices, and the size that all but the largest of each stay within. */
  set(entries, sizes) {
    let start = 0;
    this.each.forEach((map, k) => {
      map.entries = entries.slice(start, (start += map.rows * map.columns));
      map.size = sizes[k];
      // a scale that does not jump about: it grows when it must, and shrinks when a quarter is enough
      if (map.size > map.shown || map.size < map.shown / 4) map.shown = nice(map.size);
    });
  }

  draw() {
    for (const map of this.each) this.drawOne(map);
  }

  drawOne({ rows, columns, picture, canvas, scale, shown, size, entries }) {
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const unit = shown ? size / shown / LEVELS : 0;
    for (let k = 0; k < entries.length; k++) if (entries[k] !== MISSING) pixels[k] = shade(entries[k] * unit);
    picture.getContext("2d").putImageData(image, 0, 0);
    const { context, width, height, scale: sharp } = cleared(canvas, Math.min(TALL, Math.max(rows * SMALLEST, rows)));
    context.setTransform(1, 0, 0, 1, 0, 0);
    const [w, h] = [Math.round(width * sharp), Math.round(height * sharp)];
    context.imageSmoothingEnabled = w < columns || h < rows;
    context.drawImage(picture, 0, 0, w, h);
    scale.textContent = `±${short(shown)}`;
  }

  /** An entry in words; the largest were cut off. */
  value(entry, size) {
    if (entry === MISSING) return "–";
    return ({ [LEVELS]: "≥ ", [-LEVELS]: "≤ " }[entry] ?? "") + short((entry * size) / LEVELS, 2);
  }

  /** Say what lies under the pointer. */
  tell({ name, rows, columns, size, entries, canvas }, event) {
    let text = "";
    if (event) {
      const row = Math.floor((event.offsetY / canvas.clientHeight) * rows);
      const column = Math.floor((event.offsetX / canvas.clientWidth) * columns);
      const entry = entries[row * columns + column];
      if (entry !== undefined) {
        text = `${name}, ${column} → ${row}: ${this.value(entry, size)}`;
      }
    }
    this.section.querySelector(".hover").textContent = text;
  }
}
