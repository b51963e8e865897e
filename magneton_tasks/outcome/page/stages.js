// The table of stages.
import { lane, progress } from "./charts.js";
import {
  about,
  at,
  bytes,
  clock,
  count,
  el,
  inBytes,
  inNumber,
  inSeconds,
  inVoxels,
  moment,
} from "./format.js";

function bar(x) {
  const names = ["done", "empty", "running", "queued", "failed", "missing", "stale", "corrupt"];
  const told = names.filter((k) => x[k]).map((k) => `${count(x[k])} ${k}`);
  const parts = ["done", "empty", "running", "failed"].map((name) => [name, x[name]]);
  return progress(parts, x.total, `${x.stage}: ${told.join(", ")}`);
}
function memory(x) {
  if (!x.bound_bytes) return "";
  const whole = Math.max(x.bound_bytes, x.peak_bytes || 0),
    peak = x.peak_bytes ? bytes(x.peak_bytes) : "unknown";
  const drawn = lane({
    width: ((x.peak_bytes || 0) / whole) * 100,
    mark: Math.max((x.expected_bytes / whole) * 100 - 2, 0),
    above: x.peak_bytes > x.bound_bytes,
    told: `peak ${peak}, expected ${bytes(x.expected_bytes)}, at most ${bytes(x.bound_bytes)}`,
  });
  return el("span", { class: "whole" }, drawn, " ", el("small", {}, `≤ ${bytes(x.bound_bytes)}`));
}
function when(x, s, now_s) {
  if (x.began === null) return "";
  const end = x.running ? now_s : x.ended,
    whole = Math.max((s.ended ?? now_s) - s.planned, 1e-3);
  const from = Math.min(Math.max(((x.began - s.planned) / whole) * 100, 0), 99);
  const width = Math.min(Math.max(((end - x.began) / whole) * 100, 1), 100 - from);
  return lane({ from, width, told: `${moment(x.began)} to ${x.running ? "now" : clock(x.ended)}` });
}
const small = (n, word) => (n ? el("small", {}, `${count(n)} ${word}`) : null);
function cells(x, s, now_s) {
  const left = s.alive && x.left_s !== null && x.running + x.queued;
  const rest = x.missing + x.stale + x.corrupt + x.queued;
  const expected = x.expected_cpu_s ? el("small", {}, `exp. ${about(x.expected_cpu_s)}`) : null;
  const number = (...parts) => el("td", { class: "n" }, ...parts);
  return [
    el("td", {}, bar(x)),
    number(
      `${count(x.done + x.empty)} of ${count(x.total)}`,
      small(x.before, "before"),
      small(x.running, "running"),
    ),
    number(inNumber(x.empty)),
    el("td", { class: x.failed ? "n bad" : "n" }, count(x.failed)),
    number(count(rest), small(x.queued, "queued"), small(x.stale, "stale"), small(x.corrupt, "corrupt")),
    el("td", {}, when(x, s, now_s)),
    number(inSeconds(x.began === null ? null : x.ended - x.began)),
    number(left ? about(x.left_s) : "–"),
    number(inSeconds(x.cpu_s), expected),
    number(inVoxels(x.voxels_per_s)),
    number(inBytes(x.peak_bytes)),
    el("td", {}, memory(x)),
  ];
}
export function showStages(s, now_s, chosen, choose) {
  const focused = document.activeElement?.closest?.("#stage-rows tr")?.dataset.stage;
  const rows = s.stages.map((x) => {
    const pick = x.has_map ? () => choose(x.stage) : null;
    const title = `show the ${x.noun}s of ${x.stage}`;
    const name = pick ? el("button", { type: "button", title }, x.stage) : x.stage;
    const asked = x.asked ? null : el("small", {}, " not asked for");
    return el(
      "tr",
      {
        "data-stage": x.stage,
        "aria-selected": x.stage === chosen ? "true" : "false",
        class: pick ? (x.asked ? null : "unasked") : "plain",
        onclick: pick,
      },
      el("th", { scope: "row" }, name, asked),
      ...cells(x, s, now_s),
    );
  });
  at("stage-rows").replaceChildren(...rows);
  if (focused) at("stage-rows").querySelector(`tr[data-stage="${focused}"] button`)?.focus();
}
