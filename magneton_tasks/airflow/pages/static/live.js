// The page of a run in Airflow: asks the server, and looks again every 2 s while it is seen.
import { explainNothing, showDetail } from "./detail.js";
import { at, clock } from "./format.js";
import { showFirst, showState } from "./head.js";
import { BlockPage } from "./page.js";
import { followTheme } from "./theme.js";

const EVERY_MS = 2000;
let timer = 0;

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

const page = new BlockPage(
  {
    now: () => Date.now() / 1000,
    facts: () => fetchJson("facts.json"),
    layer: (stage, wanted, fine) =>
      fetchJson(`layer.json?stage=${encodeURIComponent(stage)}&z=${wanted ?? fine}`),
    means: () => null,
    async tell(stage, key) {
      try {
        await showDetail(page, stage, key);
      } catch (error) {
        trouble(`${stage} ${key} can't be shown: ${error.message}`);
      }
    },
    trouble,
  },
  "state",
);

// ------------------------------------------------------------------ looking
async function look() {
  clearTimeout(timer);
  if (document.hidden) return; // looks again when it is seen
  try {
    const data = await fetchJson("summary.json");
    trouble(data.problem && data.state !== "none" ? data.problem : "");
    if (data.state === "reading") showFirst(data);
    else showState(data.state, data.proof);
    at("looked").textContent = `Last look ${clock(Date.now() / 1000)}.`;
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
// A run that is over is looked at seldom: somebody may clear its tasks.
function plan(data) {
  const over = data.state === "verified" || data.state === "failed" || data.state === "stopped";
  const soon = data.state === "reading" ? 400 : over ? 5 * EVERY_MS : EVERY_MS;
  timer = setTimeout(look, soon);
}
async function show(data) {
  const preview = at("preview-image"),
    changed = page.summary?.version !== data.version;
  at("look").hidden = data.has_output === false && !data.volume.input;
  at("report").hidden = !data.has_report;
  at("preview").hidden = !data.has_preview;
  if (data.has_preview && (!preview.src || changed)) preview.src = `preview.png?${data.version}`;
  await page.show(data);
}

// ------------------------------------------------------------------ wiring
at("preview-image").addEventListener("load", (event) => {
  event.target.classList.toggle("pixels", event.target.naturalWidth < 480); // a small one is enlarged
});
at("detail-close").addEventListener("click", () => {
  at("detail").hidden = true;
  at("map").focus();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});
followTheme(() => page.map.draw());
look();
