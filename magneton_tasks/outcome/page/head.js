// The head of the page: how the run stands, what is made how, its figures, and what is wrong in a line each.
import {
  about,
  at,
  count,
  el,
  exact,
  inSeconds,
  inVoxels,
  pair,
  seconds,
  several,
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
function showLead(s, ended_s) {
  const ended = ended_s === null ? [] : [", ended ", time(ended_s)];
  at("partition").textContent = s.partition || "";
  at("lead").replaceChildren(
    ...["Run ", el("b", {}, s.run), `, attempt ${s.attempt}, planned `, time(s.planned), ...ended, "."],
  );
}
// What is known before any record is read: see `first_look` in page/data.py.
export function showFirst(s) {
  const { method, threshold: t, blocks } = s.volume;
  showState(s.standing, s.proof);
  showLead(s, null);
  at("lead").append(` Method ${method}, threshold ${t.value ?? ""} ${t.source_words}.`);
  at("lead").append(` Reading the records of ${several(blocks, "block")} ...`);
  showDiffers(s.before);
}

// ------------------------------------------------------------------ the run before
// `before`: see `told` in outcome/before.py; null: there's none.
export function differsWords(before) {
  if (!before) return "No earlier run is known here.";
  const { run, attempt, same_run: same, differs } = before;
  const name = same ? `attempt ${attempt} of this run` : `run ${run}, attempt ${attempt}`;
  return differs.length ? `Differs from ${name}: ${differs.join("; ")}` : `Nothing differs from ${name}.`;
}
export function showDiffers(before) {
  at("differs").hidden = false;
  at("differs").textContent = at("differs").title = differsWords(before);
}
export const differsPair = (before) => pair("Run before", differsWords(before));

// ------------------------------------------------------------------ figures
function figure(name, value, unit, title) {
  const small = unit ? [" ", el("small", {}, unit)] : [];
  return el("div", { title }, el("dt", {}, name), el("dd", {}, value, ...small));
}
export function showHead(s, now_s) {
  const until = s.state === "running" ? now_s : s.ended;
  const cpu = s.stages.reduce((sum, x) => sum + (x.cpu_s || 0), 0);
  const { method, threshold, voxels, blocks } = s.volume;
  const pace = s.stages[0].voxels_per_s;
  const left = "Airflow's own steps between the stages included, as this run had them so far";
  at("figures").replaceChildren(
    figure("Volume", inVoxels(voxels), `voxels in ${several(blocks, "block")}`),
    figure("Method", method),
    figure("Threshold", String(threshold.value ?? "–"), threshold.source_words, threshold.levels),
    ...(s.pool ? [figure("Objects", exact(s.pool.objects, si, several(s.pool.objects, "object")))] : []),
    ...(s.made?.mesh ? [figure("Meshes", si(s.made.mesh.objects), null, s.made.mesh.words)] : []),
    ...(s.made?.skeleton
      ? [figure("Skeletons", si(s.made.skeleton.objects), null, s.made.skeleton.words)]
      : []),
    figure(s.state === "running" ? "Time so far" : "Time", inSeconds(Math.max(until - s.planned, 0))),
    ...(s.left_s !== null ? [figure("Time left, about", about(s.left_s), null, left)] : []),
    ...(cpu ? [figure("CPU time", exact(cpu, seconds, `${count(cpu)} s`))] : []),
    ...(pace ? [figure("Segment", inVoxels(pace), "voxels/s", "voxels per second of wall time")] : []),
  );
  showLead(s, s.state === "running" ? null : s.ended);
  if (s.nothing_to_do) {
    at("lead").append(
      " Nothing was to do, because earlier runs have done everything. " +
        "Times and memory of blocks are those of when they were made.",
    );
  }
  const notes = [...s.notes, ...(s.pool?.warning ? [s.pool.warning] : [])];
  at("warnings").hidden = !notes.length;
  at("notes").replaceChildren(
    ...notes.map((n) => el("p", { class: "warning" }, el("b", {}, "Warning: "), n)),
  );
  showAlerts(s, notes);
}
function showAlerts(s, notes) {
  const failures = failuresOf(s),
    failed = s.stages.reduce((sum, x) => sum + (x.has_map ? x.failed : 0), 0);
  const first = failures[0];
  const where = first && (first.key === null || first.key === undefined ? "" : ` ${count(first.key)}`);
  const why = first && `${first.stage}${where}: ${first.cause || "unknown cause"}`;
  at("alerts").replaceChildren(
    ...alert(Math.max(failed, failures.length), "failure", why, "failures", "cause"),
    ...alert(notes.length, "warning", notes[0], "warnings", null),
  );
}
// The first of what is told in full further below; nothing where there's none.
function alert(n, noun, first, target, kind) {
  if (!n) return [];
  const told = el("span", { title: first }, el("b", {}, `${several(n, noun)}: `), first);
  return [el("p", { class: kind }, told, el("a", { href: `#${target}` }, "all of it"))];
}
