// The squares of one layer in (y, x): drawing, hands and keys. What they mean comes as plain data.

import { at, count, el, mib, moment, seconds } from "./format.js";
import { fit, ramp, readColours, STATES, square } from "./squares.js";

const MEASURES = {
  state: ["state", (s) => STATES[s]],
  seconds: ["time", seconds],
  peak_mib: ["peak memory", mib],
  labels: ["labels", count],
};
const MOST_PX = 72,
  GAP_PX = 5,
  HIGHEST_PX = 520; // largest square; from where on a gap fits; of a layer

export class LayerMap {
  // `ask(z)` wants another layer, `tell(key)` all of a block.
  constructor({ ask, tell }) {
    this.ask = ask;
    this.tell = tell;
    this.canvas = at("map");
    this.base = document.createElement("canvas");
    this.measures = at("map-measure");
    this.slider = at("map-layer");
    this.chosen = -1; // a square of this layer
    this.data = null;
    this.wire();
  }
  // `layer`: of the server; `stage`: its row of the summary; `names`: of hosts and runs
  show(layer, stage, names) {
    const moved = !this.data || this.data.stage !== layer.stage;
    this.data = layer;
    this.stage = stage;
    this.names = names;
    if (moved) {
      this.chosen = -1;
      this.offerMeasures();
    }
    this.draw();
  }
  offerMeasures() {
    const before = this.measures.value || "state";
    const known = Object.entries(MEASURES).filter(
      ([name]) => name === "state" || this.data[name].some((v) => v !== null),
    );
    this.measures.replaceChildren(...known.map(([name, [text]]) => new Option(text, name)));
    this.measures.value = known.some(([name]) => name === before) ? before : "state";
  }
  get values() {
    return this.measures.value === "state" ? null : this.data[this.measures.value];
  }
  get factor() {
    return this.data.factor;
  }
  get single() {
    return this.factor[0] === 1 && this.factor[1] === 1;
  }
  keyOf(square) {
    // of its first block
    const [, nx] = this.data.shape,
      [, , all] = this.data.grid,
      y = Math.floor(square / nx),
      x = square % nx;
    return this.data.first + y * this.factor[0] * all + x * this.factor[1];
  }
  squareOf(key) {
    const [, nx] = this.data.shape,
      [, , all] = this.data.grid,
      inside = key - this.data.first;
    return (
      Math.floor(Math.floor(inside / all) / this.factor[0]) * nx + Math.floor((inside % all) / this.factor[1])
    );
  }

  // ---------------------------------------------------------------- drawing
  scale() {
    const known = this.values ? Float64Array.from(this.values.filter((v) => v !== null)).sort() : [];
    if (!known.length) return null;
    // one block in two hundred at either end may lie beyond the colours: the others stay apart
    const low = known[Math.floor(known.length * 0.005)],
      high = known[Math.ceil(known.length * 0.995) - 1];
    return { low, high, least: known[0], most: known[known.length - 1] };
  }
  draw() {
    if (!this.data) return;
    this.colours = readColours();
    const colours = this.colours,
      [ny, nx] = this.data.shape,
      values = this.values,
      scale = this.scale();
    const width = this.canvas.parentElement.parentElement.clientWidth;
    let size = Math.max(Math.min(width / nx, HIGHEST_PX / ny, MOST_PX), 1);
    if (size >= GAP_PX) size = Math.floor(size);
    this.size = size;
    const side = size >= GAP_PX ? size - 1 : size,
      context = fit(this.base, nx * size, ny * size),
      text = MEASURES[this.measures.value][1];
    for (let k = 0; k < ny * nx; k++) {
      const value = values ? values[k] : null;
      const share = scale && scale.high > scale.low ? (value - scale.low) / (scale.high - scale.low) : 0.4;
      const colour = !values ? ramp(colours, 0.6) : value === null ? null : ramp(colours, share);
      const told = value === null ? "" : text(value).replace(/ min.*/, " min");
      square(
        context,
        colours,
        (k % nx) * size,
        Math.floor(k / nx) * size,
        side,
        this.data.states[k],
        colour,
        told,
      );
    }
    fit(this.canvas, nx * size, ny * size);
    this.slider.max = this.data.layers - 1;
    this.slider.value = this.data.z;
    at("map-layer-label").hidden = at("map-strip").hidden = this.data.layers === 1;
    const [from, to] = this.data.cuts[0];
    at("map-layer-text").textContent =
      `${this.data.z + 1} of ${this.data.layers}: z ${count(from)} to ${count(to)}`;
    if (this.data.layers > 1) this.drawStrip(Math.min(width, 640, 28 * this.data.layers));
    this.drawLegend(scale);
    this.frame();
  }
  frame() {
    // the squares as they were drawn, with the chosen one framed
    const context = this.canvas.getContext("2d"),
      width = parseFloat(this.canvas.style.width),
      height = parseFloat(this.canvas.style.height);
    context.clearRect(0, 0, width, height);
    context.drawImage(this.base, 0, 0, width, height);
    const [, nx] = this.data.shape,
      grown = Math.max(this.size, 5);
    if (this.chosen >= 0) {
      for (const [line, colour] of [
        [4, this.colours.paper],
        [2, this.colours.ink],
      ]) {
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.strokeRect(
          (this.chosen % nx) * this.size + 0.5,
          Math.floor(this.chosen / nx) * this.size + 0.5,
          grown - 2,
          grown - 2,
        );
      }
    }
    this.describe();
  }
  drawStrip(width) {
    // how much of each layer is done, and where something failed or runs
    const colours = this.colours,
      context = fit(at("map-strip"), width, 40),
      step = width / this.data.layers,
      gap = step > 3 ? 1 : 0;
    const each = this.data.grid[1] * this.data.grid[2];
    this.stage.layers.forEach((n, z) => {
      const share = ((n.d || 0) + (n.e || 0)) / each,
        height = Math.max(share * 30, 1);
      context.fillStyle = colours.line;
      context.fillRect(z * step, 10, Math.max(step - gap, 0.5), 30);
      context.fillStyle = z === this.data.z ? colours.accent : colours.soft;
      context.fillRect(z * step, 40 - height, Math.max(step - gap, 0.5), height);
      if (n.f || n.c || n.r) {
        context.fillStyle = n.f || n.c ? colours.bad : colours.warn;
        context.fillRect(z * step, 0, Math.max(step - gap, 2), 6);
      }
    });
  }
  drawLegend(scale) {
    const items = [],
      [name, text] = MEASURES[this.measures.value],
      colours = this.colours;
    const item = (...parts) => el("span", {}, ...parts);
    if (scale) {
      const bar = el("i");
      bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((s) => `rgb(${ramp(colours, s)})`).join(", ")})`;
      items.push(
        item(
          `${name}: ${scale.least < scale.low ? "≤ " : ""}${text(scale.low)}`,
          bar,
          (scale.most > scale.high ? "≥ " : "") + text(scale.high),
        ),
      );
    }
    const counts = {};
    for (const letter of this.data.states) counts[letter] = (counts[letter] || 0) + 1;
    for (const letter of scale ? "erqmsfc" : "derqmsfc") {
      if (!counts[letter]) continue;
      const swatch = el("canvas");
      square(fit(swatch, 18, 18), colours, 0, 0, 18, letter, ramp(colours, 0.6), "");
      items.push(item(swatch, `${STATES[letter]}: ${count(counts[letter])}`));
    }
    if (this.data.layers > 1)
      items.push(
        item("bars above: share done of each layer, with a mark on top where something failed or runs"),
      );
    if (!this.single)
      items.push(
        item(
          `one square: ${this.factor.join(" × ")} ${this.data.noun}s (y, x), worst state, mean time, highest memory`,
        ),
      );
    at("map-legend").replaceChildren(...items);
  }

  // ---------------------------------------------------------------- one square
  describe() {
    const panel = at("map-block"),
      data = this.data,
      k = this.chosen;
    if (k < 0) {
      panel.replaceChildren(
        el("h3", {}, `Point at a ${data.noun}`),
        el("p", { class: "soft" }, "Click it (or press Enter) for its tries, its error and its log."),
      );
      return;
    }
    const [, nx] = data.shape,
      y = Math.floor(k / nx),
      x = k % nx,
      list = el("dl"),
      key = this.keyOf(k);
    const add = (name, value) => {
      if (value !== null && value !== undefined) list.append(el("dt", {}, name), el("dd", {}, value));
    };
    add("grid", `${[data.z, y * this.factor[0], x * this.factor[1]].join(", ")} (z, y, x)`);
    data.cuts.forEach((cuts, a) => {
      const i = [0, y, x][a];
      add(`core ${"zyx"[a]}`, `${count(cuts[i])} to ${count(cuts[i + 1])}`);
    });
    add("state", STATES[data.states[k]]);
    const failure = this.stage.failures.find((f) => f.key === key);
    if (this.single && failure) add("cause", failure.cause || "unknown");
    for (const [name, [title, text]] of Object.entries(MEASURES)) {
      if (name !== "state" && data[name][k] !== null) add(title, text(data[name][k]));
    }
    if (this.single) {
      if (data.host[k] >= 0) add("host", this.names.hosts[data.host[k]]);
      if (data.run[k] >= 0)
        add(
          data.run[k] > 0 ? "made by" : "attempt",
          this.names.runs[data.run[k]].replace(data.run[k] > 0 ? "" : /^.*\//, ""),
        );
      if (data.time[k] !== null) add(data.states[k] === "r" ? "since" : "at", moment(data.time[k]));
    }
    const noun = data.noun[0].toUpperCase() + data.noun.slice(1);
    panel.replaceChildren(
      el("h3", {}, this.single ? `${noun} ${count(key)}` : `${this.factor.join(" × ")} ${data.noun}s`),
      list,
    );
  }
  choose(square) {
    if (square !== this.chosen) {
      this.chosen = square;
      this.frame();
    }
  }
  chooseKey(key) {
    this.choose(this.squareOf(key));
  }

  // ---------------------------------------------------------------- hands and keys
  under(event) {
    const box = this.canvas.getBoundingClientRect(),
      [ny, nx] = this.data.shape;
    const x = Math.floor(((event.clientX - box.left) / box.width) * nx),
      y = Math.floor(((event.clientY - box.top) / box.height) * ny);
    return x < 0 || y < 0 || x >= nx || y >= ny ? this.chosen : y * nx + x;
  }
  onKey(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] },
      step = steps[event.key];
    const [ny, nx] = this.data.shape;
    if (event.key === "PageDown" || event.key === "PageUp")
      this.ask(this.data.z + (event.key === "PageDown" ? 1 : -1));
    else if (event.key === "Enter" && this.chosen >= 0) this.tell(this.keyOf(this.chosen));
    else if (!step) return;
    else if (this.chosen < 0) this.choose(0);
    else {
      const y = Math.floor(this.chosen / nx) + step[0],
        x = (this.chosen % nx) + step[1];
      this.choose(Math.min(Math.max(y, 0), ny - 1) * nx + Math.min(Math.max(x, 0), nx - 1));
    }
    event.preventDefault();
  }
  wire() {
    this.measures.addEventListener("change", () => this.draw());
    this.slider.addEventListener("input", () => this.ask(Number(this.slider.value)));
    at("map-strip").addEventListener("click", (e) =>
      this.ask(Math.floor((e.offsetX / at("map-strip").clientWidth) * this.data.layers)),
    );
    this.canvas.addEventListener("pointermove", (e) => this.data && this.choose(this.under(e)));
    this.canvas.addEventListener("click", (e) => {
      this.choose(this.under(e));
      this.tell(this.keyOf(this.chosen));
    });
    this.canvas.addEventListener("keydown", (e) => this.data && this.onKey(e));
    window.addEventListener("resize", () => this.draw());
  }
}
