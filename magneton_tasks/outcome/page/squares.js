// How a block is drawn: a colour, and for all but done a pattern and a letter besides.

export const STATES = {
  d: "done",
  e: "empty (no foreground)",
  r: "running",
  q: "queued",
  m: "missing",
  s: "stale",
  f: "failed",
  c: "corrupt",
};
export const MARKED = "efmrqsc";

export function readColours() {
  const style = getComputedStyle(document.documentElement),
    get = (name) => style.getPropertyValue(name).trim();
  const names = ["paper", "panel", "ink", "soft", "line", "accent", "bad", "warn", "queued"];
  const colours = Object.fromEntries(names.map((n) => [n, get(`--${n}`)]));
  colours.ramp = get("--ramp")
    .split(",")
    .map((c) => [1, 3, 5].map((i) => parseInt(c.trim().slice(i, i + 2), 16)));
  return colours;
}
export function ramp(colours, share) {
  const steps = colours.ramp,
    x = Math.min(Math.max(share, 0), 1) * (steps.length - 1),
    k = Math.min(Math.floor(x), steps.length - 2);
  return steps[k].map((c, i) => Math.round(c + (steps[k + 1][i] - c) * (x - k)));
}
export function luminance(colour) {
  // relative, of sRGB: WCAG 2
  const [r, g, b] = colour.map((c) => (c <= 10 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
export function fit(element, width, height) {
  const dense = window.devicePixelRatio || 1;
  element.width = Math.round(width * dense);
  element.height = Math.round(height * dense);
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
  const context = element.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  return context;
}
// `colour`: [r, g, b] of a done one, null for one that nothing is known of.
export function square(context, colours, x, y, side, state, colour, text) {
  if (MARKED.includes(state)) {
    marked(context, colours, x, y, side, state);
    return;
  }
  context.fillStyle = colour ? `rgb(${colour})` : colours.panel;
  context.fillRect(x, y, side, side);
  if (!colour || !text || side < 40) return;
  context.fillStyle = luminance(colour) > 0.18 ? "#000000" : "#ffffff"; // where both contrast alike
  context.font = `${Math.min(side / 4.6, 12)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x + side / 2, y + side / 2 + 0.5, side - 4);
}
function marked(context, colours, x, y, side, state) {
  const strong = { f: colours.bad, c: colours.bad, r: colours.warn }[state],
    mark = Math.max(side / 16, 1);
  context.fillStyle = strong || colours.panel;
  context.fillRect(x, y, side, side);
  if (side < 6) {
    if ("msq".includes(state)) {
      context.fillStyle = state === "q" ? colours.queued : colours.soft;
      context.fillRect(x, y, side / 2, side / 2);
    }
    return;
  }
  context.lineWidth = mark;
  context.strokeStyle = strong ? colours.paper : state === "q" ? colours.queued : colours.soft;
  context.beginPath();
  if (!"eq".includes(state)) {
    context.moveTo(x, y + side);
    context.lineTo(x + side, y);
  }
  if (state === "f") {
    context.moveTo(x, y);
    context.lineTo(x + side, y + side);
  }
  context.stroke();
  if ("emq".includes(state)) {
    if (state === "q") context.setLineDash([Math.max(side / 8, 2), Math.max(side / 8, 2)]);
    context.strokeRect(x + mark / 2, y + mark / 2, side - mark, side - mark);
    context.setLineDash([]);
  }
  if (side < 18) return;
  const font = Math.min(side / 2, 15);
  context.font = `700 ${font}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = strong || colours.panel;
  context.fillRect(x + side / 2 - font * 0.55, y + side / 2 - font * 0.6, font * 1.1, font * 1.2);
  context.fillStyle = strong ? colours.paper : colours.soft;
  context.fillText(state.toUpperCase(), x + side / 2, y + side / 2 + 0.5);
}
