// The page of all volumes.

import { at, bytes, el, moment, pair, seconds, several, si, times } from "./format.js";
import { differsPair } from "./head.js";
import { runsOf } from "./runs.js";
import { followTheme, leaveFrame } from "./theme.js";

const EVERY_MS = 5000;
const WORDS = { verified: "Verified", failed: "Failed", running: "Running", stopped: "Stopped" };
const root = new URL("../../", location.href),
  enc = encodeURIComponent;
let timer = 0,
  shown = "";

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const answer = await fetch("list.json", { headers: { Accept: "application/json" } });
    if (answer.status === 401) throw new Error("Your login has ended: log in again, then reload this page.");
    if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
    const text = await answer.text();
    at("trouble").hidden = true;
    if (text !== shown) show(JSON.parse(text).volumes);
    shown = text;
  } catch (error) {
    at("trouble").hidden = false;
    at("trouble").textContent =
      error instanceof TypeError ? "The server can't be reached; trying again." : error.message;
  }
  timer = setTimeout(look, EVERY_MS);
}
function show(volumes) {
  at("nothing").hidden = volumes.length > 0;
  const focus = document.activeElement?.getAttribute?.("href");
  // a volume with partitions has a card for each: the first has the table over all its runs
  const isFirst = (v, k) => v.planned !== undefined && v.dag_id !== volumes[k - 1]?.dag_id;
  at("volumes").replaceChildren(...volumes.map((v, k) => card(v, isFirst(v, k))));
  if (focus)
    at("volumes")
      .querySelector(`a[href="${CSS.escape(focus)}"]`)
      ?.focus();
}
function card(v, hasRuns) {
  const dag = new URL(`dags/${enc(v.dag_id)}`, root).href;
  if (v.more) return el("p", { class: "soft" }, `${v.name}: ${several(v.more, "older partition")}`);
  const state = v.problem
    ? el("p", { class: "state failed" }, v.run || v.planned ? "Can't be read" : "Broken config")
    : v.state
      ? el(
          "p",
          { class: `state ${v.state}` },
          `${WORDS[v.state]}${v.proof && v.proof !== "complete" ? `, ${v.proof}` : ""}`,
        )
      : el("p", { class: "state none" }, "Never run");
  const map = v.run ? `../runs/${enc(v.dag_id)}/${enc(v.run)}/` : null;
  const head = el(
    "div",
    { class: "title" },
    el("h2", {}, v.name, v.partition ? el("small", {}, " ", v.partition) : null),
    state,
    el(
      "nav",
      { "aria-label": v.name },
      ...(map ? [el("a", { class: "button strong", href: map }, "Block map")] : []),
      ...(map && v.state ? [el("a", { class: "button", href: `${map}look/` }, "Look at it")] : []),
      el("a", { class: "button", href: dag, onclick: leaveFrame }, "DAG"),
    ),
  );
  const took = v.ended ? `, took ${seconds(Math.max(v.ended - v.planned, 0))}` : "";
  const levels = v.threshold?.levels ? `: ${v.threshold.levels}` : "";
  const facts = el(
    "dl",
    {},
    ...pair(
      "Newest run",
      v.run ? `${v.run}, attempt ${v.attempt}, planned ${moment(v.planned)}${took}` : null,
    ),
    ...pair("Result", v.objects !== null && v.objects !== undefined ? several(v.objects, "object") : null),
    ...pair(
      "Volume",
      v.voxels ? `${times(v.shape)} voxels (${si(v.voxels)}), ${several(v.blocks, "block")}` : null,
    ),
    ...pair(
      "Method",
      v.threshold
        ? `${v.method}, threshold ${v.threshold.value ?? ""} ${v.threshold.source_words}${levels}`
        : null,
    ),
    ...(v.voxels ? differsPair(v.before) : []),
    ...(v.threshold ? v.threshold.warnings : []).flatMap((w) => pair("Warning", w)),
    ...pair("Input", v.input ? el("code", {}, v.input) : null),
    ...pair("Segmentation", v.output ? el("code", {}, v.output) : null),
    ...pair("Config", el("code", {}, v.path)),
    ...pair("Schedule", v.schedule ? el("code", {}, v.schedule) : null),
    ...pair("Freed", v.freed ? `${bytes(v.freed.bytes)} at ${moment(v.freed.time)}` : null),
  );
  const problem = v.problem ? [el("pre", {}, v.problem)] : [];
  return el("article", { class: "volume" }, head, facts, ...problem, ...(hasRuns ? [runsOf(v.dag_id)] : []));
}
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});
followTheme(() => {});
look();
