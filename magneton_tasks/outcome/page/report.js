import { fit, MARKED, ramp, readColours, STATES, square } from "./squares.js";

// The block map: squares of one layer in (y, x), coloured by what the records say of each block.
(() => {
  const at = (id) => document.getElementById(id);
  const report = JSON.parse(at("map-data").textContent);
  const canvas = at("map"),
    base = document.createElement("canvas"),
    strip = at("map-strip"),
    panel = at("map-block"),
    legend = at("map-legend");
  const slider = at("map-layer"),
    stages = at("map-stage"),
    measures = at("map-measure");
  if (!report.maps.length) {
    at("blocks").hidden = true;
    return;
  }

  const MEASURES = {
    seconds: ["time", seconds],
    cpu_s: ["CPU time", seconds],
    peak_mib: ["peak memory", memory],
    labels: ["labels", (n) => n.toLocaleString("en")],
    state: ["state", (s) => STATES[s]],
  };
  const MOST_PX = 56,
    GAP_PX = 5; // largest square; from where on a gap fits

  let map,
    values,
    scale,
    layer = 0,
    chosen = -1,
    colours,
    size = 1;

  // ---------------------------------------------------------------- numbers for people
  function digits(n) {
    return n >= 100 ? n.toFixed(0) : String(Number(n.toPrecision(3)));
  }
  function seconds(s) {
    if (s < 1) return `${digits(s * 1000)} ms`;
    if (s < 120) return `${digits(s)} s`;
    const m = Math.floor(s / 60);
    return m < 120 ? `${m} min ${Math.round(s % 60)} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
  }
  function memory(mib) {
    return mib < 1024 ? `${digits(mib)} MiB` : `${digits(mib / 1024)} GiB`;
  }

  // ---------------------------------------------------------------- data
  function spread(runs, n) {
    // [value, times, ...] as one value a block
    const all = new Int32Array(n).fill(-1);
    if (runs)
      for (let i = 0, k = 0; i < runs.length; i += 2) {
        all.fill(runs[i], k, k + runs[i + 1]);
        k += runs[i + 1];
      }
    return all;
  }
  function position(key) {
    const [, ny, nx] = map.shape;
    return [Math.floor(key / (ny * nx)), Math.floor(key / nx) % ny, key % nx];
  }
  function prepare(index) {
    map = report.maps[index];
    const n = map.states.length;
    map.host ??= spread(map.hosts, n);
    map.run ??= spread(map.runs, n);
    map.single = map.factor.every((f) => f === 1);
    const before = measures.value;
    measures.replaceChildren(
      ...Object.entries(MEASURES)
        .filter(([name]) => name === "state" || map[name])
        .map(([name, [text]]) => new Option(text, name)),
    );
    measures.value = [...measures.options].some((o) => o.value === before)
      ? before
      : measures.options[0].value;
    const worst = map.states.search(/[fc]/);
    layer = worst >= 0 ? position(worst)[0] : Math.floor(map.shape[0] / 2);
    chosen = worst;
    slider.max = map.shape[0] - 1;
    at("map-layer-label").hidden = strip.hidden = map.shape[0] === 1;
    measure();
  }
  function measure() {
    values = map[measures.value] || null;
    const known = values ? Float64Array.from(values.filter((v) => v !== null)).sort() : [];
    // one block in two hundred at either end may lie beyond the colours: the others stay apart
    const low = known[Math.floor(known.length * 0.005)],
      high = known[Math.ceil(known.length * 0.995) - 1];
    scale = known.length ? { low, high, least: known[0], most: known[known.length - 1] } : null;
    draw();
  }

  // ---------------------------------------------------------------- colours
  function share(value) {
    return scale.high > scale.low ? (value - scale.low) / (scale.high - scale.low) : 0.4;
  }

  // ---------------------------------------------------------------- drawing
  function mark(context, x, y, side, state, value) {
    const known = value !== null && value !== undefined;
    const colour =
      measures.value === "state" ? ramp(colours, 0.6) : known ? ramp(colours, share(value)) : null;
    const text = values && colour ? MEASURES[measures.value][1](value).replace(/ min.*/, " min") : "";
    square(context, colours, x, y, side, state, colour, text);
  }
  function draw() {
    colours = readColours();
    const [nz, ny, nx] = map.shape,
      width = canvas.parentElement.parentElement.clientWidth;
    size = Math.max(Math.min(width / nx, 560 / ny, MOST_PX), 1);
    if (size >= GAP_PX) size = Math.floor(size);
    const side = size >= GAP_PX ? size - 1 : size,
      context = fit(base, nx * size, ny * size);
    const first = layer * ny * nx;
    for (let k = 0; k < ny * nx; k++) {
      mark(
        context,
        (k % nx) * size,
        Math.floor(k / nx) * size,
        side,
        map.states[first + k],
        values ? values[first + k] : null,
      );
    }
    fit(canvas, nx * size, ny * size);
    slider.value = layer;
    const [from, to] = [map.cuts[0][layer], map.cuts[0][layer + 1]];
    at("map-layer-text").textContent =
      `${layer + 1} of ${nz}: z ${from.toLocaleString("en")} to ${to.toLocaleString("en")}`;
    if (nz > 1) drawStrip(nz, ny * nx, Math.min(width, 640));
    drawLegend();
    show();
  }
  function show() {
    // the squares as they were drawn, with the chosen one framed
    const context = canvas.getContext("2d"),
      width = parseFloat(canvas.style.width),
      height = parseFloat(canvas.style.height);
    context.clearRect(0, 0, width, height);
    context.drawImage(base, 0, 0, width, height);
    if (chosen >= 0 && position(chosen)[0] === layer) {
      const [, y, x] = position(chosen),
        grown = Math.max(size, 5);
      for (const [line, colour] of [
        [4, colours.paper],
        [2, colours.ink],
      ]) {
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.strokeRect(x * size + 0.5, y * size + 0.5, grown - 2, grown - 2);
      }
    }
    describe();
  }
  function drawStrip(nz, each, width) {
    // each layer's mean, and where something failed
    const context = fit(strip, width, 40),
      step = width / nz,
      means = [];
    for (let z = 0; z < nz; z++) {
      let sum = 0,
        n = 0,
        failed = false;
      for (let k = z * each; k < (z + 1) * each; k++) {
        if (values ? values[k] !== null : "de".includes(map.states[k])) {
          sum += values ? values[k] : 1;
          n++;
        }
        failed ||= "fc".includes(map.states[k]);
      }
      means.push([values ? (n ? sum / n : 0) : sum / each, failed]);
    }
    const most = Math.max(...means.map(([m]) => m)) || 1;
    means.forEach(([mean, failed], z) => {
      const height = Math.max((mean / most) * 30, 1),
        gap = step > 3 ? 1 : 0;
      context.fillStyle = z === layer ? colours.accent : colours.line;
      context.fillRect(z * step, 40 - height, Math.max(step - gap, 0.5), height);
      if (failed) {
        context.fillStyle = colours.bad;
        context.fillRect(z * step, 0, Math.max(step - gap, 2), 6);
      }
    });
  }
  function drawLegend() {
    const items = [],
      name = MEASURES[measures.value][0],
      text = MEASURES[measures.value][1];
    if (values && scale) {
      const bar = document.createElement("i");
      bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((s) => `rgb(${ramp(colours, s)})`).join(", ")})`;
      const less = scale.least < scale.low ? "≤ " : "",
        more = scale.most > scale.high ? "≥ " : "";
      items.push(item(`${name}: ${less}${text(scale.low)}`, bar, more + text(scale.high)));
      if (scale.most > scale.high) items.push(item(`highest: ${text(scale.most)}`));
    }
    for (const state of values ? MARKED : `d${MARKED}`) {
      const n = map.states.split(state).length - 1;
      if (!n) continue;
      const swatch = document.createElement("canvas");
      mark(fit(swatch, 18, 18), 0, 0, 18, state, null);
      items.push(item(swatch, `${STATES[state]}: ${n.toLocaleString("en")}`));
    }
    if (map.shape[0] > 1)
      items.push(
        item(
          `bars above: ${values ? `mean ${name}` : "share done"} of each layer, red where something failed`,
        ),
      );
    if (!map.single)
      items.push(
        item(
          `one square: ${map.factor.join(" × ")} ${map.noun}s (z, y, x), mean times, highest memory, worst state`,
        ),
      );
    legend.replaceChildren(...items);
  }
  function item(...parts) {
    const span = document.createElement("span");
    span.append(...parts);
    return span;
  }

  // ---------------------------------------------------------------- one block
  function describe() {
    const title = document.createElement("h3"),
      list = document.createElement("dl");
    panel.replaceChildren(title, list);
    if (chosen < 0) {
      title.textContent = `Point at a ${map.noun}`;
      return;
    }
    const add = (name, text) => {
      const term = document.createElement("dt"),
        value = document.createElement("dd");
      term.textContent = name;
      value.textContent = text;
      list.append(term, value);
    };
    const where = position(chosen);
    title.textContent = map.single
      ? `${map.noun[0].toUpperCase()}${map.noun.slice(1)} ${chosen.toLocaleString("en")}`
      : `${map.factor.join(" × ")} ${map.noun}s`;
    add("grid", `${where.map((i, a) => i * map.factor[a]).join(", ")} (z, y, x)`);
    for (const [a, i] of where.entries()) {
      add(
        `core ${"zyx"[a]}`,
        `${map.cuts[a][i].toLocaleString("en")} to ${map.cuts[a][i + 1].toLocaleString("en")}`,
      );
    }
    add("state", STATES[map.states[chosen]]);
    if (map.single && map.causes[chosen]) add("cause", map.causes[chosen]);
    for (const [key, [name, text]] of Object.entries(MEASURES)) {
      if (map[key] && map[key][chosen] !== null) add(name, text(map[key][chosen]));
    }
    if (map.host[chosen] >= 0) add("host", report.hosts[map.host[chosen]]);
    if (map.run[chosen] > 0) add("made by", report.runs[map.run[chosen]]);
  }
  function choose(key) {
    if (key !== chosen) {
      chosen = key;
      show();
    }
  }
  function under(event) {
    const box = canvas.getBoundingClientRect(),
      [, ny, nx] = map.shape;
    const x = Math.floor(((event.clientX - box.left) / box.width) * nx),
      y = Math.floor(((event.clientY - box.top) / box.height) * ny);
    return x < 0 || y < 0 || x >= nx || y >= ny ? chosen : (layer * ny + y) * nx + x;
  }
  function go(to) {
    const move = Math.min(Math.max(to, 0), map.shape[0] - 1) - layer;
    layer += move;
    if (chosen >= 0) chosen += move * map.shape[1] * map.shape[2];
    draw();
  }
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  function onKey(event) {
    const [, ny, nx] = map.shape,
      step = STEPS[event.key];
    if (event.key === "PageDown" || event.key === "PageUp") go(layer + (event.key === "PageDown" ? 1 : -1));
    else if (!step) return;
    else if (chosen < 0) choose(layer * ny * nx);
    else {
      const [, y, x] = position(chosen);
      choose(
        (layer * ny + Math.min(Math.max(y + step[0], 0), ny - 1)) * nx +
          Math.min(Math.max(x + step[1], 0), nx - 1),
      );
    }
    event.preventDefault();
  }

  // ---------------------------------------------------------------- wiring
  stages.replaceChildren(...report.maps.map((m, i) => new Option(m.stage, i)));
  stages.addEventListener("change", () => prepare(Number(stages.value)));
  measures.addEventListener("change", measure);
  slider.addEventListener("input", () => go(Number(slider.value)));
  strip.addEventListener("click", (event) =>
    go(Math.floor((event.offsetX / strip.clientWidth) * map.shape[0])),
  );
  canvas.addEventListener("pointermove", (event) => choose(under(event)));
  canvas.addEventListener("keydown", onKey);
  window.addEventListener("resize", draw);
  for (const query of ["(prefers-color-scheme: dark)", "print"])
    window.matchMedia(query).addEventListener("change", draw);
  window.addEventListener("beforeprint", () => {
    for (const d of document.querySelectorAll("details")) d.open = true;
  });
  prepare(0);
})();
