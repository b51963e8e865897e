// The head of the page: how the run stands, its figures, warnings, and the table of stages.
import { lane, progress } from "./charts.js";
import {
  about,
  at,
  bytes,
  clock,
  count,
  el,
  exact,
  inBytes,
  inNumber,
  inSeconds,
  inVoxels,
  moment,
  seconds,
  si,
  time,
} from "./format.js";

const WORDS = {
  verified: "Verified",
  failed: "Failed",
  running: "Running",
  stopped: "Stopped before its end",
  none: "Not planned",
  reading: "Reading the records",
  unreadable: "Can't be read",
};

export function showState(state, proof, failedIn) {
  const pill = at("state");
  pill.hidden = false;
  pill.className = `state ${state === "unreadable" ? "failed" : state}`;
  pill.textContent = WORDS[state] + (proof ? `: ${proof}` : "") + (failedIn ? ` in ${failedIn}` : "");
}
export function failuresOf(summary) {
  return [...summary.stages.flatMap((x) => x.failures), ...summary.outside];
}
function figure(name, value, unit, title) {
  const small = unit ? [" ", el("small", {}, unit)] : [];
  return el("div", { title }, el("dt", {}, name), el("dd", {}, value, ...small));
}
export function showFigures(s, now_s) {
  const until = s.state === "running" ? now_s : s.ended;
  const cpu = s.stages.reduce((sum, x) => sum + (x.cpu_s || 0), 0);
  const { threshold, voxels, blocks } = s.volume;
  const pace = s.stages[0].voxels_per_s;
  at("figures").replaceChildren(
    figure("Volume", inVoxels(voxels), "voxels"),
    figure("Blocks", count(blocks)),
    figure("Threshold", String(threshold.value ?? "–"), threshold.source_words, threshold.levels),
    ...(s.pool ? [figure("Objects", exact(s.pool.objects, si, `${count(s.pool.objects)} objects`))] : []),
    figure(s.state === "running" ? "Time so far" : "Time", inSeconds(Math.max(until - s.planned, 0))),
    ...(s.left_s !== null ? [figure("Time left, about", about(s.left_s))] : []),
    ...(cpu ? [figure("CPU time", inSeconds(cpu))] : []),
    ...(pace ? [figure("Segment", inVoxels(pace), "voxels/s", "voxels per second of wall time")] : []),
  );
  at("partition").textContent = s.partition || "";
  const ended = s.state === "running" ? [] : [", ended ", time(s.ended)];
  const nothing =
    " Nothing was to do, because earlier runs have done everything. " +
    "Times and memory of blocks are those of when they were made.";
  at("lead").replaceChildren(
    ...["Run ", el("b", {}, s.run), `, attempt ${s.attempt}, planned `, time(s.planned), ...ended, "."],
    s.nothing_to_do ? nothing : "",
  );
  const notes = [...s.notes, ...(s.pool?.warning ? [s.pool.warning] : [])];
  at("notes").replaceChildren(
    ...notes.map((n) => el("p", { class: "warning" }, el("b", {}, "Warning: "), n)),
  );
}

// ------------------------------------------------------------------ the table
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
        class: x.asked ? null : "unasked",
        onclick: pick,
      },
      el("th", { scope: "row" }, name, asked),
      ...cells(x, s, now_s),
    );
  });
  if (s.verify) {
    const failed = s.outside.some((f) => f.stage === "verify");
    const [done, gap, rest] = [`${failed ? 0 : 1} of 1`, { colspan: 4 }, { colspan: 5 }];
    rows.push(
      el(
        "tr",
        { class: "plain", "data-stage": "verify" },
        el("th", { scope: "row" }, "verify"),
        el("td"),
        el("td", { class: "n" }, done),
        el("td", gap),
        el("td", { class: "n" }, exact(s.verify.seconds, seconds, null)),
        el("td", rest),
      ),
    );
  }
  at("stage-rows").replaceChildren(...rows);
  if (focused) at("stage-rows").querySelector(`tr[data-stage="${focused}"] button`)?.focus();
}
