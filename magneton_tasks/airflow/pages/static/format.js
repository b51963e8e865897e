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
  return m < 2880
    ? `${Math.floor(m / 60)} h ${m % 60} min`
    : `${Math.floor(m / 1440)} d ${Math.floor((m % 1440) / 60)} h`;
}
export function about(s) {
  return s < 1 ? "< 1 s" : seconds(s);
} // a guess
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
export function moment(s) {
  const d = new Date(s * 1000),
    pad = (n) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())} ${clock(s)}`;
}
export function clock(s) {
  const d = new Date(s * 1000),
    pad = (n) => String(n).padStart(2, "0");
  return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}
export function triple(numbers) {
  return numbers.map(count).join(", ");
}
export function times(numbers) {
  return numbers.map(count).join(" × ");
}

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
  return value.every((v) => v === null || v === undefined)
    ? []
    : [el("dt", {}, name), el("dd", {}, ...value)];
}
