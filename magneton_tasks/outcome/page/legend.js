// Around the squares of a layer: what they are coloured by, the strip of all layers, the legend.
import { at, count, el, mib, UNITS } from "./format.js";
import { fit, ramp, STATES, square } from "./squares.js";

// By what squares may be coloured: name of a layer's column -> [word, text of a value].
export function measuresOf(figures) {
  const text = (f) => (f.unit === "bytes" ? mib : UNITS[f.unit][0]);
  const each = figures.map((f) => [f.map_name, [f.word, text(f)]]);
  return { state: ["state", (s) => STATES[s]], ...Object.fromEntries(each) };
}
const COUNTED = {
  d: "done",
  e: "empty",
  r: "running",
  q: "queued",
  m: "missing",
  s: "stale",
  f: "failed",
  c: "corrupt",
};

// How many blocks of a layer of squares are in which state.
function countsOf(map, z) {
  const sum = {};
  for (const counts of map.stage.layers.slice(z * map.factor[0], (z + 1) * map.factor[0])) {
    for (const [letter, n] of Object.entries(counts)) sum[letter] = (sum[letter] || 0) + n;
  }
  return sum;
}
// A bar per layer: the mean of what is shown, else the share done; where something failed or runs.
export function drawStrip(map, width) {
  const { layers, z } = map.data,
    step = width / layers,
    gap = step > 3 ? 1 : 0;
  const context = fit(at("map-strip"), width, 40),
    colours = map.colours,
    means = map.values && map.means(map.measure),
    most = means ? Math.max(...means) || 1 : 1;
  for (let k = 0; k < layers; k++) {
    const n = countsOf(map, k),
      all = Object.values(n).reduce((a, b) => a + b, 0);
    const share = means ? means[k] / most : ((n.d || 0) + (n.e || 0)) / all,
      height = Math.max(share * 30, 1);
    context.fillStyle = colours.line;
    context.fillRect(k * step, 10, Math.max(step - gap, 0.5), 30);
    context.fillStyle = k === z ? colours.accent : colours.soft;
    context.fillRect(k * step, 40 - height, Math.max(step - gap, 0.5), height);
    if (n.f || n.c || n.r) {
      context.fillStyle = n.f || n.c ? colours.bad : colours.warn;
      context.fillRect(k * step, 0, Math.max(step - gap, 2), 6);
    }
  }
}
export function drawLegend(map, scale) {
  const item = (...parts) => el("span", {}, ...parts);
  const items = scale ? scaleItems(map, scale, item) : [];
  const counts = {};
  for (const letter of map.data.states) counts[letter] = (counts[letter] || 0) + 1;
  for (const letter of scale ? "erqmsfc" : "derqmsfc") {
    if (!counts[letter]) continue;
    const swatch = el("canvas"),
      all = map.stage[COUNTED[letter]];
    square(fit(swatch, 18, 18), map.colours, 0, 0, 18, letter, ramp(map.colours, 0.6), "");
    const inAll = map.single && all > counts[letter] ? `, ${count(all)} in all layers` : "";
    items.push(item(swatch, `${STATES[letter]}: ${count(counts[letter])}${inAll}`));
  }
  if (map.data.layers > 1) {
    const shown = map.values && map.means(map.measure) ? `mean ${map.known[map.measure][0]}` : "share done";
    items.push(item(`bars above: ${shown} of each layer, with a mark where something failed or runs`));
  }
  if (!map.single) {
    const each = `one square: ${map.factor.join(" × ")} ${map.data.noun}s (z, y, x)`;
    items.push(item(`${each}, with their worst state, mean time and highest memory`));
  }
  at("map-legend").replaceChildren(...items);
}
function scaleItems(map, scale, item) {
  const [name, text] = map.known[map.measure];
  const steps = [0, 0.25, 0.5, 0.75, 1].map((s) => `rgb(${ramp(map.colours, s)})`),
    bar = el("i");
  bar.style.background = `linear-gradient(90deg, ${steps.join(", ")})`;
  const [less, more] = [scale.least < scale.low ? "≤ " : "", scale.most > scale.high ? "≥ " : ""];
  const highest = more ? [item(`highest: ${text(scale.most)}`)] : [];
  return [item(`${name}: ${less}${text(scale.low)}`, bar, more + text(scale.high)), ...highest];
}
