// One block in full: what was tried, the error, the log; and why a run has no attempt.
import { at, capital, code, count, el, moment, table, times, triple, UNITS } from "./format.js";
import { leaveFrame } from "./theme.js";

const { dag, run } = document.body.dataset;
const root = new URL("../../../../", location.href); // of the web interface, whatever its prefix
const enc = encodeURIComponent;
const api = new URL(`api/v2/dags/${enc(dag)}/dagRuns/${enc(run)}/`, root);

// The page of a task in the web interface.
function taskLink(task, mapped) {
  const part = mapped === null ? "" : `/mapped/${mapped}`;
  return new URL(`dags/${enc(dag)}/runs/${enc(run)}/tasks/${enc(task)}${part}`, root);
}
async function get(url, as = "json") {
  const answer = await fetch(url, { headers: { Accept: as === "json" ? "application/json" : "text/plain" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return as === "json" ? answer.json() : answer.text();
}

// ------------------------------------------------------------------ a block
export async function showDetail({ summary, facts }, stage, key) {
  const found = await get(`block.json?stage=${enc(stage)}&key=${key}`),
    last = found.tries.at(-1);
  at("detail-title").textContent = `${stage}, ${found.noun} ${count(key)}`;
  at("detail-body").replaceChildren(
    ...placeOf(found),
    ...errorOf(last),
    triesOf(found.tries, facts.figures),
    ...taskOf(summary, stage, last),
    ...(found.log ? [logOf(stage, key)] : []),
  );
  at("detail").hidden = false;
}
function placeOf(found) {
  if (!found.begin_vox) return [];
  const size = times(found.end_vox.map((end, a) => end - found.begin_vox[a]));
  const box = `${triple(found.begin_vox)} to ${triple(found.end_vox)} (z, y, x): ${size}`;
  return [el("p", { class: "soft" }, `grid ${triple(found.position)}; voxels ${box}`)];
}
function errorOf(last) {
  if (last?.state !== "failed") return [];
  const cause = el("b", {}, last.cause || "unknown cause");
  return [el("p", { class: "cause" }, cause, ` (exit code ${last.exit_code})`), el("p", {}, last.hint || "")];
}
function triesOf(tries, figures) {
  if (!tries.length) return el("p", {}, "Nothing has been recorded of it yet.");
  const words = figures.map((f) => capital(f.word));
  const heads = ["When", "What", "Host, process or job", ...words, "Attempt"];
  const rows = tries.map((t) =>
    el(
      "tr",
      {},
      el("td", {}, moment(t.time)),
      el("td", { class: t.state === "failed" ? "bad" : null }, t.state),
      el("td", {}, `${t.host}, ${t.job ? `job ${t.job}` : t.pid}`),
      ...figures.map((f) => el("td", {}, UNITS[f.unit][1](t[f.name]))),
      el("td", {}, t.ours ? `${t.attempt}, batch ${t.batch}` : `${t.run}, ${t.attempt}`),
    ),
  );
  return table(heads, rows);
}
function taskOf(summary, stage, last) {
  if (!last?.ours || last.batch === null || last.batch < 0) return [];
  const [name] = stage.split(" "); // without its threshold
  const mapped = name === "pool" ? null : last.batch;
  const { href } = taskLink(name + summary.task_suffix, mapped);
  const text = mapped === null ? "Its task in Airflow" : `Its task in Airflow (batch ${mapped})`;
  return [el("p", {}, el("a", { href, onclick: leaveFrame }, text), ", with the task's log")];
}
function logOf(stage, key) {
  const log = el("pre", { tabindex: 0, "aria-label": "log" }, "...");
  get(`log.txt?stage=${enc(stage)}&key=${key}`, "text").then(
    (text) => {
      log.textContent = text;
      log.scrollTop = log.scrollHeight;
    },
    () => log.remove(),
  );
  return log;
}

// ------------------------------------------------------------------ no attempt
function say(title, ...lines) {
  at("nothing-title").textContent = title;
  at("nothing-text").replaceChildren(...lines.map((line) => el("p", {}, line)));
}
function showLog(text) {
  at("nothing-log").textContent = text;
  at("nothing-log").hidden = !text;
}
// What Airflow knows, asked as the person who looks: the state of the task plan and the end of its log.
export async function explainNothing(data) {
  if (data.problem) {
    say("The volume's config can't be used", "Airflow's DAG of it says the same:");
    showLog(data.problem);
    return;
  }
  try {
    await explainPlan(await get(new URL("taskInstances/plan", api)));
  } catch (error) {
    const where = data.config ? ["The config: ", code(data.config)] : [];
    if (error.message !== "404") {
      say("Nothing planned yet", "The map appears as soon as the run's plan is written.");
      return;
    }
    const other = "or its work directory isn't the one that the volume's config names now.";
    say("No plan of this run", `Airflow knows no task plan in this run, ${other}`, el("span", {}, ...where));
  }
}
async function explainPlan(task) {
  const link = el(
    "a",
    { href: taskLink("plan", null).href, onclick: leaveFrame },
    "The task plan in Airflow",
  );
  if (["failed", "up_for_retry", "upstream_failed"].includes(task.state)) {
    const again = task.state === "up_for_retry";
    say(
      again ? "Plan failed and will be tried again" : "Plan failed: nothing was begun",
      "No block was touched. What plan said:",
      el("span", {}, link, ". Fix the cause, then clear that task (or trigger a new run)."),
    );
    showLog((await planLog(task.try_number)).join("\n"));
  } else if (task.state === "skipped") {
    say("Plan was skipped", "This run had nothing to work on.", link);
  } else {
    const state = task.state || "not scheduled yet";
    showLog("");
    say("Nothing planned yet", `The map appears as soon as the task plan is done. It is ${state}.`, link);
  }
}
// What our task said, and the error that it ended with; not Airflow's own lines.
async function planLog(number) {
  const url = new URL(`taskInstances/plan/logs/${number}`, api);
  url.searchParams.set("full_content", "true");
  const data = await get(url);
  const entries = (Array.isArray(data.content) ? data.content : []).filter((e) => typeof e === "object");
  const ours = entries.filter((e) => (e.logger || "").startsWith("airflow.task.operators"));
  const lines = ours.map((e) => e.event).slice(-20);
  const errors = entries.flatMap((e) => e.error_detail || []).map((d) => String(d.exc_value));
  const said = (text) => lines.some((line) => line.includes(text.split("\n")[0]));
  return [...lines, ...errors.filter((text) => !said(text))];
}
