// The table over the runs of a volume, in its card on the page of volumes: asked for when it is opened.
import { el, table } from "./format.js";

const enc = encodeURIComponent;
const opened = new Set(); // volumes whose table is open: the page is drawn anew when something changes
const known = new Map(); // and what was there at the last look

async function ask(dag) {
  const answer = await fetch(`${enc(dag)}/runs.json`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return answer.json();
}
function drawn(dag, { columns, runs, texts }) {
  const shown = columns.filter((c) => c.word);
  const heads = shown.map((c) => (c.is_number ? `#${c.word}` : c.word));
  const cell = (c, k) => {
    const text = texts[k][c.name];
    if (c.name !== "run") return el("span", { title: String(runs[k][c.name] ?? "") }, text);
    return el("a", { href: `../runs/${enc(dag)}/${enc(runs[k].run)}/` }, text);
  };
  const rows = runs.map((_, k) => shown.map((c) => cell(c, k)));
  const download = `${dag.replace(/^instance_segmentation\./, "")}-runs.csv`;
  const csv = el("a", { href: `${enc(dag)}/runs.csv`, download }, "All columns as CSV");
  return [table(heads, rows, "narrow runs"), el("p", {}, csv)];
}
// What opens to the table.
export function runsOf(dag) {
  const body = el("div", {});
  const show = async () => {
    if (known.has(dag)) body.replaceChildren(...known.get(dag));
    else body.textContent = "Loading";
    try {
      known.set(dag, drawn(dag, await ask(dag)));
      body.replaceChildren(...known.get(dag));
    } catch (error) {
      body.textContent = `The runs can't be listed: ${error.message}`;
    }
  };
  const details = el("details", { open: opened.has(dag) }, el("summary", {}, "All runs"), body);
  details.addEventListener("toggle", () => {
    if (details.open) show();
    opened[details.open ? "add" : "delete"](dag);
  });
  return details;
}
