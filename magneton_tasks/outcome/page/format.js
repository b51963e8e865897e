// Numbers for people, and elements.

export function digits(n) {
  return n >= 100 ? n.toFixed(0) : String(Number(n.toPrecision(3)));
}
export function count(n) {
  return n.toLocaleString("en");
}
export function seconds(s) {
  if (s < 1) return `${digits(s * 1000)} ms`;
  if (s < 119.5) return `${digits(s)} s`;
  const m = Math.floor(s / 60 + (s >= 7200 ? 0.5 : 0));
  if (m < 120) return `${m} min ${Math.floor(s % 60)} s`;
  if (m < 2880) return `${Math.floor(m / 60)} h ${m % 60} min`;
  return `${Math.floor(m / 1440)} d ${Math.floor((m % 1440) / 60)} h`;
}
// A guess.
export function about(s) {
  return s < 1 ? "< 1 s" : seconds(s);
}
export function si(n) {
  let k = 0;
  while (n >= 999.5 && k < 4) {
    n /= 1000;
    k++;
  }
  return digits(n) + (k ? ` ${"kMGT"[k - 1]}` : "");
}
export function bytes(n) {
  let k = 0;
  while (n >= 1024 && k < 4) {
    n /= 1024;
    k++;
  }
  return `${digits(n)} ${["B", "KiB", "MiB", "GiB", "TiB"][k]}`;
}
export function mib(n) {
  return bytes(n * 2 ** 20);
}
const pad = (n) => String(n).padStart(2, "0");
export function clock(s) {
  const d = new Date(s * 1000);
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}
export function moment(s) {
  const d = new Date(s * 1000);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${clock(s)}`;
}
export function triple(numbers) {
  return numbers.map(count).join(", ");
}
export function times(numbers) {
  return numbers.map(count).join(" × ");
}
export function several(n, noun, plural = `${noun}s`) {
  return `${count(n)} ${n === 1 ? noun : plural}`;
}

// ------------------------------------------------------------------ elements
export const at = (id) => document.getElementById(id);
// An element; whatever stands in its texts is text.
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return made;
}
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
export function pair(name, ...value) {
  const known = value.some((v) => v !== null && v !== undefined);
  return known ? [el("dt", {}, name), el("dd", {}, ...value)] : [];
}
export const code = (text) => el("code", {}, String(text));
// A figure at a glance, with the exact one on hovering; a dash where it is unknown.
export function exact(value, text, title) {
  if (value === null || value === undefined) return el("span", { class: "none" }, "–");
  return el("span", { title }, text(value));
}
export const inBytes = (n) => exact(n, bytes, n === null ? null : several(n ?? 0, "byte"));
export const inSeconds = (s) => exact(s, seconds, s === null ? null : `${count(s ?? 0)} s`);
export const inVoxels = (n) => exact(n, si, n === null ? null : several(n ?? 0, "voxel"));
export const inNumber = (n) => exact(n, count, null);
// How a figure of a block is written, by its unit: as text, and as an element of a table.
export const UNITS = {
  s: [seconds, inSeconds],
  bytes: [bytes, inBytes],
  number: [count, inNumber],
};
export const capital = (word) => word[0].toUpperCase() + word.slice(1);
export function time(s) {
  const utc = `${new Date(s * 1000).toISOString().slice(0, 19)}Z`;
  return el("time", { datetime: utc, title: utc }, moment(s));
}
// `heads`: names of columns, with a # before those of numbers; `rows`: lists of cells or elements
// `tr`; the first cell of a row names it.
export function table(heads, rows, kind = "narrow") {
  const number = heads.map((h) => (h.startsWith("#") ? "n" : null));
  const head = heads.map((h, k) => el("th", { scope: "col", class: number[k] }, h.replace("#", "")));
  const cells = (row) =>
    row.map((cell, k) => el(k ? "td" : "th", { scope: k ? null : "row", class: number[k] }, cell));
  const body = rows.map((row) => (row instanceof Element ? row : el("tr", {}, ...cells(row))));
  const whole = el(
    "table",
    { class: kind },
    el("thead", {}, el("tr", {}, ...head)),
    el("tbody", {}, ...body),
  );
  return el("div", { class: "scroll" }, whole);
}
