// One block in full: what was tried, the error, the log; and why a run has no attempt.

import { at, bytes, count, el, moment, seconds, times, triple } from "./format.js";
import { leaveFrame } from "./theme.js";

const { dag, run } = document.body.dataset;
const root = new URL("../../../../", location.href); // of the web interface, whatever its prefix
const enc = encodeURIComponent;
const api = new URL(`api/v2/dags/${enc(dag)}/dagRuns/${enc(run)}/`, root);

export function taskLink(task, mapped) {
  // the page of a task in the web interface
  const part = mapped === null ? "" : `/mapped/${mapped}`;
  return new URL(`dags/${enc(dag)}/runs/${enc(run)}/tasks/${enc(task)}${part}`, root);
}
async function get(url, as = "json") {
  const answer = await fetch(url, { headers: { Accept: as === "json" ? "application/json" : "text/plain" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return as === "json" ? answer.json() : answer.text();
}

// ------------------------------------------------------------------ a block
export async function showDetail(summary, stage, key) {
  const found = await get(`block.json?stage=${enc(stage)}&key=${key}`),
    body = [];
  at("detail-title").textContent = `${stage}, ${found.noun} ${count(key)}`;
  if (found.begin_vox)
    body.push(
      el(
        "p",
        { class: "soft" },
        `grid ${triple(found.position)}; voxels ${triple(found.begin_vox)} to ${triple(found.end_vox)} (z, y, x): ${times(found.end_vox.map((e, a) => e - found.begin_vox[a]))}`,
      ),
    );
  const last = found.tries[found.tries.length - 1];
  if (last && last.state === "failed")
    body.push(
      el(
        "p",
        { class: "cause" },
        el("b", {}, last.cause || "unknown cause"),
        ` (exit code ${last.exit_code})`,
      ),
      el("p", {}, last.hint || ""),
    );
  const heads = [
    "When",
    "What",
    "Host, process or job",
    "Time",
    "CPU",
    "Peak memory",
    "Labels",
    "Attempt",
  ].map((h) => el("th", { scope: "col" }, h));
  const rows = found.tries.map((t) =>
    el(
      "tr",
      {},
      el("td", {}, moment(t.time)),
      el("td", { class: t.state === "failed" ? "bad" : null }, t.state),
      el("td", {}, `${t.host}, ${t.job ? `job ${t.job}` : t.pid}`),
      el("td", {}, t.seconds === null ? "–" : seconds(t.seconds)),
      el("td", {}, t.cpu_s === null ? "–" : seconds(t.cpu_s)),
      el("td", {}, t.peak_bytes === null ? "–" : bytes(t.peak_bytes)),
      el("td", {}, t.labels === null ? "–" : count(t.labels)),
      el("td", {}, t.ours ? `${t.attempt}, batch ${t.batch}` : `${t.run}, ${t.attempt}`),
    ),
  );
  if (rows.length)
    body.push(
      el(
        "div",
        { class: "scroll" },
        el("table", { class: "narrow" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
      ),
    );
  else body.push(el("p", {}, "Nothing has been recorded of it yet."));
  if (last?.ours && last.batch !== null && last.batch >= 0) {
    const mapped = stage === "pool" ? null : last.batch,
      link = el(
        "a",
        { href: taskLink(stage + summary.task_suffix, mapped).href, onclick: leaveFrame },
        mapped === null ? "Its task in Airflow" : `Its task in Airflow (batch ${mapped})`,
      );
    body.push(el("p", {}, link, ", with the task's log"));
  }
  if (found.log) {
    const log = el("pre", { tabindex: 0, "aria-label": "log" }, "...");
    body.push(log);
    get(`log.txt?stage=${enc(stage)}&key=${key}`, "text").then(
      (text) => {
        log.textContent = text;
        log.scrollTop = log.scrollHeight;
      },
      () => log.remove(),
    );
  }
  at("detail-body").replaceChildren(...body);
  at("detail").hidden = false;
}

// ------------------------------------------------------------------ no attempt
// What Airflow knows, asked as the person who looks: the run's state, plan's task and the end of its log.
export async function explainNothing(data) {
  const title = at("nothing-title"),
    text = at("nothing-text"),
    log = at("nothing-log");
  const say = (head, ...lines) => {
    title.textContent = head;
    text.replaceChildren(...lines.map((l) => el("p", {}, l)));
  };
  if (data.problem) {
    say("The volume's config can't be used", "Airflow's DAG of it says the same:");
    log.textContent = data.problem;
    log.hidden = false;
    return;
  }
  try {
    const task = await get(new URL("taskInstances/plan", api));
    const link = el(
      "a",
      { href: taskLink("plan", null).href, onclick: leaveFrame },
      "The task plan in Airflow",
    );
    if (task.state === "failed" || task.state === "up_for_retry" || task.state === "upstream_failed") {
      say(
        task.state === "up_for_retry"
          ? "Plan failed and will be tried again"
          : "Plan failed: nothing was begun",
        "No block was touched. What plan said:",
        el("span", {}, link, ". Fix the cause, then clear that task (or trigger a new run)."),
      );
      const lines = await planLog(task.try_number);
      log.hidden = !lines.length;
      log.textContent = lines.join("\n");
    } else if (task.state === "skipped") {
      say("Plan was skipped", "This run had nothing to work on.", link);
    } else {
      log.hidden = true;
      say(
        "Nothing planned yet",
        `The task plan is ${task.state || "not scheduled yet"}: the map appears as soon as it has written its plan.`,
        link,
      );
    }
  } catch (error) {
    const gone = error.message === "404";
    say(
      gone ? "No plan of this run" : "Nothing planned yet",
      gone
        ? "Airflow knows no task plan in this run, or the work directory that it wrote to isn't the one that the volume's config names now."
        : "The map appears as soon as the run's plan is written.",
    );
  }
}
async function planLog(number) {
  // what our task said, and the error that it ended with; not Airflow's own lines
  const url = new URL(`taskInstances/plan/logs/${number}`, api);
  url.searchParams.set("full_content", "true");
  const data = await get(url),
    entries = (Array.isArray(data.content) ? data.content : []).filter((e) => typeof e === "object");
  const lines = entries
    .filter((e) => (e.logger || "").startsWith("airflow.task.operators"))
    .map((e) => e.event)
    .slice(-20);
  const errors = entries.flatMap((e) => e.error_detail || []).map((d) => String(d.exc_value));
  return [...lines, ...errors.filter((e) => !lines.some((line) => line.includes(e.split("\n")[0])))];
}
