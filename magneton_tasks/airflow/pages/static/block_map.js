// The page of a run's block map: asks the server, looks again every 2 s while it is seen.

import { explainNothing, showDetail } from "./detail.js";
import { at } from "./format.js";
import { LayerMap } from "./layer_map.js";
import * as panels from "./panels.js";
import { followTheme } from "./theme.js";

const EVERY_MS = 2000;
let summary = null,
  stage = null,
  z = null,
  shown = null,
  told = null,
  timer = 0,
  followed = true;

const map = new LayerMap({
  ask: (wanted) => {
    followed = false;
    askLayer(wanted);
  },
  tell: (key) => tell(stage, key),
});

async function fetchJson(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (answer.status === 401) throw new Error("Your login has ended: log in again, then reload this page.");
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.problem || data.detail || `The server answered ${answer.status}.`);
  return data;
}
function trouble(text) {
  at("trouble").hidden = !text;
  at("trouble").textContent = text || "";
}

// ------------------------------------------------------------------ looking
async function look() {
  clearTimeout(timer);
  if (document.hidden) return; // looks again when it is seen
  try {
    const data = await fetchJson("summary.json");
    trouble(data.problem && data.state !== "none" ? data.problem : "");
    panels.showState(data.state, data.proof);
    panels.showLooked();
    at("content").hidden = !data.stages;
    at("nothing").hidden = data.state !== "none";
    if (data.state === "none") await explainNothing(data);
    if (data.stages) await show(data);
    plan(data);
  } catch (error) {
    trouble(error instanceof TypeError ? "The server can't be reached; trying again." : error.message);
    timer = setTimeout(look, 5 * EVERY_MS);
  }
}
function plan(data) {
  // a run that is over is looked at seldom: somebody may clear its tasks
  const over = data.state === "verified" || data.state === "failed" || data.state === "stopped";
  const soon = data.state === "reading" ? 400 : over ? 5 * EVERY_MS : EVERY_MS;
  timer = setTimeout(look, soon);
}
async function show(data) {
  const changed = !summary || summary.version !== data.version;
  summary = data;
  panels.showFigures(data);
  panels.showRunning(data, jump);
  at("look").hidden = data.has_output === false && !data.volume.input;
  at("report").hidden = !data.has_report;
  at("preview").hidden = !data.has_preview;
  if (data.has_preview && (!at("preview-image").src || changed))
    at("preview-image").src = `preview.png?${data.version}`;
  if (!changed) return;
  const drawn = data.stages.filter((s) => s.has_map);
  if (!stage || followed) stage = current(drawn);
  if (followed && z !== null && !busy(row().layers[z])) z = firstLayer(); // on to where something happens
  const select = at("map-stage");
  select.replaceChildren(...drawn.map((s) => new Option(s.stage, s.stage)));
  select.value = stage;
  panels.showStages(data, stage, choose);
  panels.showFailures(data, jump);
  panels.showPool(data);
  panels.showCost(data);
  panels.showSpread(row(), (key) => jump(stage, key));
  await askLayer(z);
}
function row() {
  return summary.stages.find((s) => s.stage === stage);
}
// The stage that a person wants to see first: where something failed, else what runs, else the last that is begun.
function current(drawn) {
  const begun = drawn.filter((s) => s.done + s.empty + s.running > 0);
  const found =
    drawn.find((s) => s.failed) ||
    drawn.find((s) => s.running) ||
    begun.find((s) => s.queued) ||
    begun[0] ||
    drawn[0];
  if (found.stage !== stage) z = null;
  return found.stage;
}
function busy(n) {
  return n && (n.f || n.c || n.r);
}
function firstLayer() {
  const layers = row().layers,
    find = (...letters) => layers.findIndex((n) => letters.some((l) => n[l]));
  const failed = find("f", "c"),
    running = find("r");
  return failed >= 0 ? failed : running >= 0 ? running : (z ?? Math.floor(layers.length / 2));
}
async function askLayer(wanted) {
  const most = row().layers.length - 1;
  z = Math.min(Math.max(wanted ?? firstLayer(), 0), most);
  const question = `layer.json?stage=${encodeURIComponent(stage)}&z=${z}`;
  shown = question;
  try {
    const layer = await fetchJson(question);
    if (shown === question) map.show(layer, row(), summary); // else another was asked for meanwhile
  } catch (error) {
    trouble(error.message);
  }
}

// ------------------------------------------------------------------ choosing
function choose(wanted) {
  followed = false;
  if (wanted !== stage) {
    stage = wanted;
    z = null;
  }
  at("map-stage").value = stage;
  panels.showStages(summary, stage, choose);
  panels.showSpread(row(), (key) => jump(stage, key));
  return askLayer(z);
}
async function jump(to, key) {
  const found = summary.stages.find((s) => s.stage === to);
  if (!found || !found.has_map) return;
  followed = false;
  stage = to;
  const each =
    map.data && map.data.stage === to
      ? map.data.grid[1] * map.data.grid[2]
      : found.total / found.layers.length;
  z = Math.floor(key / each);
  await choose(to);
  map.chooseKey(key);
  at("blocks").scrollIntoView({ block: "start" });
  await tell(to, key);
}
async function tell(of, key) {
  told = [of, key];
  try {
    await showDetail(summary, ...told);
  } catch (error) {
    trouble(`${of} ${key} can't be shown: ${error.message}`);
  }
}

// ------------------------------------------------------------------ wiring
at("map-stage").addEventListener("change", (event) => choose(event.target.value));
at("detail-close").addEventListener("click", () => {
  at("detail").hidden = true;
  told = null;
  at("map").focus();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});
followTheme(() => map.draw());
look();
