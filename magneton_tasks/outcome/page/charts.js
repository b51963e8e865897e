// Bars: histograms, and small ones inside of tables.
import { el, svg } from "./format.js";

const WIDTH = 400,
  HEIGHT = 110,
  FLOOR = 120;

// `bars`: [height, title] each, the highest fills the chart; `ticks`: [0 to 1, text] below it.
export function histogram({ name, top, bars, ticks, below }) {
  const step = WIDTH / bars.length,
    most = Math.max(...bars.map(([height]) => height)) || 1;
  const drawn = bars.map(([value, title], k) => {
    const height = (value / most) * HEIGHT;
    const place = { x: k * step + 0.5, y: FLOOR - height, width: Math.max(step - 1.5, 1), height };
    return svg("rect", { class: "bar", ...place }, svg("title", {}, title));
  });
  const anchor = (share) => (share === 0 ? "start" : share === 1 ? "end" : "middle");
  const texts = ticks.map(([share, text]) =>
    svg("text", { x: share * WIDTH, y: 136, "text-anchor": anchor(share) }, text),
  );
  return svg(
    "svg",
    { viewBox: "-4 -14 408 176", role: "img", "aria-label": name },
    svg("text", { x: 0, y: -3 }, top),
    ...drawn,
    svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: FLOOR + 0.5, y2: FLOOR + 0.5 }),
    ...texts,
    ...(below ? [svg("text", { x: WIDTH / 2, y: 156, "text-anchor": "middle" }, below)] : []),
  );
}

// A bar in a frame, in percent of it; `mark`: where a line stands.
export function lane({ from = 0, width, mark = null, above = false, told, height = 12 }) {
  const percent = (n) => `${n.toFixed(2)}%`;
  const label = told ? { role: "img", "aria-label": told } : { "aria-hidden": "true" };
  const inner = mark === null ? { y: 0, height } : { y: height / 4, height: height / 2 };
  return svg(
    "svg",
    { class: "lane", width: 92, height, ...label },
    ...(told ? [svg("title", {}, told)] : []),
    svg("rect", { class: "track", width: "100%", height }),
    svg("rect", { class: above ? "bar above" : "bar", x: percent(from), width: percent(width), ...inner }),
    ...(mark === null ? [] : [svg("rect", { class: "mark", x: percent(mark), width: 2, height })]),
  );
}

// Parts of a whole side by side: [name, how many] each.
export function progress(parts, total, told) {
  const bar = el("div", { class: "progress", role: "img", title: told, "aria-label": told });
  for (const [name, n] of parts) {
    if (!n) continue;
    const part = el("i", { class: name });
    part.style.width = `${(n / total) * 100}%`;
    bar.append(part);
  }
  return bar;
}
