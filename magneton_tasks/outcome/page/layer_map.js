// The squares of one layer in (y, x): drawing, hands and keys. What they mean comes as plain data.
import { at, count, el, moment } from "./format.js";
import { drawLegend, drawStrip, measuresOf } from "./legend.js";
import { fit, ramp, readColours, STATES, square } from "./squares.js";

const MOST_PX = 72, // largest square
  GAP_PX = 5, // from where on a gap fits
  HIGHEST_PX = 520, // of a layer
  LEAST_PX = 200, // of its height, however small the window is
  BELOW_PX = 64; // for the legend
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

// [value, times, value, times, ...] as one value per block.
function spread(repeats, n) {
  const all = new Int32Array(n).fill(-1);
  for (let i = 0, k = 0; i < repeats.length; i += 2) {
    all.fill(repeats[i], k, k + repeats[i + 1]);
    k += repeats[i + 1];
  }
  return all;
}
const clamp = (n, most) => Math.min(Math.max(n, 0), most);

export class LayerMap {
  // `ask(z)` wants another layer; `tell(key)` all of a block, null: there's no more to tell;
  // `means(measure)`: of each layer, null where they aren't known; `measure`: what is shown first.
  constructor({ ask, tell, means, measure }) {
    Object.assign(this, { ask, tell, means, first: measure });
    this.canvas = at("map");
    this.base = document.createElement("canvas");
    this.measures = at("map-measure");
    this.slider = at("map-layer");
    this.chosen = -1; // a square of this layer
    this.data = null;
    this.wire();
  }
  // `layer`: head and columns; `stage`: its row of the summary; `names`: of hosts and runs;
  // `figures`: of blocks
  show(layer, stage, names, figures) {
    const moved = !this.data || this.data.stage !== layer.stage;
    const n = layer.states.length;
    this.data = { ...layer, hosts: spread(layer.hosts ?? [], n), runs: spread(layer.runs ?? [], n) };
    this.stage = stage;
    this.names = names;
    this.known = measuresOf(figures);
    if (moved) this.chosen = -1;
    this.offerMeasures();
    this.draw();
  }
  offerMeasures() {
    const before = this.measures.value || this.first;
    const known = Object.keys(this.known).filter((name) => name === "state" || this.data[name]);
    this.measures.replaceChildren(...known.map((name) => new Option(this.known[name][0], name)));
    this.measures.value = known.includes(before) ? before : "state";
  }
  get measure() {
    return this.measures.value;
  }
  get values() {
    return this.measure === "state" ? null : this.data[this.measure];
  }
  get factor() {
    return this.data.factor;
  }
  get single() {
    return this.factor.every((f) => f === 1);
  }
  placeOf(square) {
    const nx = this.data.shape[1];
    return [this.data.z, Math.floor(square / nx), square % nx];
  }
  // Of the first block of a square.
  keyOf(square) {
    const [z, y, x] = this.placeOf(square).map((i, a) => i * this.factor[a]);
    const [, ny, nx] = this.data.grid;
    return (z * ny + y) * nx + x;
  }
  squareOf(key) {
    const [, ny, nx] = this.data.grid,
      y = Math.floor(key / nx) % ny;
    return Math.floor(y / this.factor[1]) * this.data.shape[1] + Math.floor((key % nx) / this.factor[2]);
  }

  // ---------------------------------------------------------------- drawing
  scale() {
    const known = this.values ? Float64Array.from(this.values.filter((v) => v !== null)).sort() : [];
    if (!known.length) return null;
    // One square in two hundred at either end may lie beyond the colours: the others stay apart.
    const low = known[Math.floor(known.length * 0.005)],
      high = known[Math.ceil(known.length * 0.995) - 1];
    return { low, high, least: known[0], most: known[known.length - 1] };
  }
  draw() {
    if (!this.data) return;
    this.colours = readColours();
    const { z, layers, cuts, shape } = this.data,
      scale = this.scale();
    const width = this.canvas.parentElement.parentElement.clientWidth;
    at("map-layer-label").hidden = at("map-strip").hidden = layers === 1;
    this.drawSquares(scale, width);
    fit(this.canvas, shape[1] * this.size, shape[0] * this.size);
    this.slider.max = layers - 1;
    this.slider.value = z;
    at("map-layer-text").textContent =
      `${z + 1} of ${layers}: z ${count(cuts[0][z])} to ${count(cuts[0][z + 1])}`;
    if (layers > 1) drawStrip(this, Math.min(width, 640, Math.max(28 * layers, 200)));
    drawLegend(this, scale);
    this.frame();
  }
  // How high a layer may be, so that all of it is seen without scrolling.
  roomPx() {
    const top = this.canvas.getBoundingClientRect().top + window.scrollY;
    return Math.min(Math.max(window.innerHeight - top - BELOW_PX, LEAST_PX), HIGHEST_PX);
  }
  drawSquares(scale, width) {
    const [ny, nx] = this.data.shape,
      values = this.values;
    let size = Math.max(Math.min(width / nx, this.roomPx() / ny, MOST_PX), 1);
    if (size >= GAP_PX) size = Math.floor(size);
    this.size = size;
    const side = size >= GAP_PX ? size - 1 : size,
      context = fit(this.base, nx * size, ny * size);
    for (let k = 0; k < ny * nx; k++) {
      const value = values ? values[k] : null;
      const text = value === null ? "" : this.known[this.measure][1](value).replace(/ min.*/, " min");
      const colour = values && value === null ? null : this.colourOf(value, scale);
      const [x, y] = [(k % nx) * size, Math.floor(k / nx) * size];
      square(context, this.colours, x, y, side, this.data.states[k], colour, text);
    }
  }
  colourOf(value, scale) {
    if (value === null) return ramp(this.colours, 0.6);
    return ramp(this.colours, scale.high > scale.low ? (value - scale.low) / (scale.high - scale.low) : 0.4);
  }
  // The squares as they were drawn, with the chosen one framed.
  frame() {
    const context = this.canvas.getContext("2d"),
      [ny, nx] = this.data.shape.map((n) => n * this.size);
    context.clearRect(0, 0, nx, ny);
    context.drawImage(this.base, 0, 0, nx, ny);
    if (this.chosen >= 0) {
      const [, y, x] = this.placeOf(this.chosen).map((i) => i * this.size + 0.5),
        side = Math.max(this.size, 5) - 2;
      for (const [line, colour] of [
        [4, this.colours.paper],
        [2, this.colours.ink],
      ]) {
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.strokeRect(x, y, side, side);
      }
    }
    this.describe();
  }
  // ---------------------------------------------------------------- one square
  describe() {
    const { noun } = this.data;
    if (this.chosen < 0) {
      const hint = this.tell && "Click it (or press Enter) for its tries, its error and its log.";
      const more = hint ? [el("p", { class: "soft" }, hint)] : [];
      at("map-block").replaceChildren(el("h3", {}, `Point at a ${noun}`), ...more);
      return;
    }
    const known = this.factsOf(this.chosen).filter(([, value]) => value !== null && value !== undefined);
    const list = el("dl", {}, ...known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    const title = `${noun[0].toUpperCase()}${noun.slice(1)} ${count(this.keyOf(this.chosen))}`;
    const several = `${this.factor.join(" × ")} ${noun}s`;
    at("map-block").replaceChildren(el("h3", {}, this.single ? title : several), list);
  }
  factsOf(k) {
    const { cuts, causes, states } = this.data,
      place = this.placeOf(k);
    const facts = [
      ["grid", `${place.map((i, a) => i * this.factor[a]).join(", ")} (z, y, x)`],
      ...place.map((i, a) => [`core ${"zyx"[a]}`, `${count(cuts[a][i])} to ${count(cuts[a][i + 1])}`]),
      ["state", STATES[states[k]]],
      ["cause", causes?.[this.keyOf(k)]],
    ];
    for (const [name, [title, text]] of Object.entries(this.known)) {
      const value = name === "state" ? null : (this.data[name]?.[k] ?? null);
      if (value !== null) facts.push([title, text(value)]);
    }
    return this.single ? [...facts, ...this.originOf(k)] : facts;
  }
  // Where, by whom and when a block was worked.
  originOf(k) {
    const { hosts, runs, times, states } = this.data,
      name = this.names.runs[runs[k]];
    const made = runs[k] > 0 ? ["made by", name] : ["attempt", name?.replace(/^.*\//, "")];
    const time = times?.[k] ?? null;
    return [
      ["host", this.names.hosts[hosts[k]]],
      made,
      [states[k] === "r" ? "since" : "at", time === null ? null : moment(time)],
    ];
  }
  choose(square) {
    if (square === this.chosen) return;
    this.chosen = square;
    this.frame();
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
    const step = STEPS[event.key],
      [ny, nx] = this.data.shape;
    if (event.key === "PageDown") this.ask(this.data.z + 1);
    else if (event.key === "PageUp") this.ask(this.data.z - 1);
    else if (event.key === "Enter" && this.chosen >= 0) this.tell?.(this.keyOf(this.chosen));
    else if (!step) return;
    else if (this.chosen < 0) this.choose(0);
    else {
      const [, y, x] = this.placeOf(this.chosen);
      this.choose(clamp(y + step[0], ny - 1) * nx + clamp(x + step[1], nx - 1));
    }
    event.preventDefault();
  }
  wire() {
    const { canvas, slider } = this,
      strip = at("map-strip");
    this.measures.addEventListener("change", () => this.draw());
    slider.addEventListener("input", () => this.ask(Number(slider.value)));
    strip.addEventListener("click", (e) =>
      this.ask(Math.floor((e.offsetX / strip.clientWidth) * this.data.layers)),
    );
    canvas.addEventListener("pointermove", (e) => this.data && this.choose(this.under(e)));
    canvas.addEventListener("click", (e) => {
      this.choose(this.under(e));
      this.tell?.(this.keyOf(this.chosen));
    });
    canvas.addEventListener("keydown", (e) => this.data && this.onKey(e));
    window.addEventListener("resize", () => this.draw());
  }
}
