// What failed, what runs, which blocks were slow or large.
import { histogram } from "./charts.js";
import {
  at,
  bytes,
  capital,
  code,
  count,
  el,
  moment,
  seconds,
  several,
  table,
  triple,
  UNITS,
} from "./format.js";
import { failuresOf } from "./head.js";

const MOST_ROWS = 100;

export function showFailures(s, facts, jump) {
  const failures = failuresOf(s),
    shown = failures.slice(0, MOST_ROWS);
  at("failures").hidden = !failures.length && s.state !== "stopped";
  at("failures-title").textContent = failures.length ? "What failed" : "What is missing";
  at("failure-table").hidden = !failures.length;
  at("failure-rows").replaceChildren(
    ...shown.map((f) => {
      const name = f.key === null || f.key === undefined ? f.stage : `${f.stage} ${count(f.key)}`;
      const where = f.position
        ? el("button", { class: "link", type: "button", onclick: () => jump(f.stage, f.key) }, name)
        : name;
      const told = [
        el("p", { class: "cause" }, f.cause || "unknown"),
        f.hint ? el("p", {}, el("b", {}, "What to do: "), f.hint) : null,
        f.log ? el("p", { class: "soft" }, "Log: ", code(f.log)) : null,
      ];
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, where),
        el("td", {}, ...told),
        el("td", { class: "n" }, f.exit_code ?? "–"),
        el("td", {}, f.host || "–"),
        el("td", {}, f.time ? moment(f.time) : "–"),
      );
    }),
  );
  const blocks = s.stages.reduce((sum, x) => sum + (x.has_map ? x.failed : 0), 0);
  const more = blocks - shown.filter((f) => f.position).length;
  const go = [
    "Continue with ",
    code(facts.look.run),
    " (in Airflow: clear the task ",
    el("i", {}, "plan"),
    ").",
  ];
  const rest =
    more > 0
      ? el(
          "p",
          { class: "soft" },
          `${several(more, "more block")} failed: `,
          code(`${facts.look.status} --failed`),
        )
      : "";
  const told = failures.length
    ? ["Fix the cause. ", ...go, " Finished work stays."]
    : ["The run ended before verify could prove the result complete. ", ...go, " Finished work stays."];
  at("failures-more").replaceChildren(rest, s.state === "running" ? "" : el("p", {}, ...told));
}
export function showRunning(s, now_s, jump) {
  const running = s.stages.flatMap((x) => x.running_now.map((r) => ({ ...r, stage: x.stage })));
  at("running").hidden = !running.length;
  at("running-list").replaceChildren(
    ...running.map((r) => {
      const told = `${r.stage} ${count(r.key)}, for ${seconds(Math.max(now_s - r.since, 0))}`;
      return el("li", {}, el("button", { type: "button", onclick: () => jump(r.stage, r.key) }, told));
    }),
  );
}

// ------------------------------------------------------------------ slow and large blocks
function spread(title, h, text) {
  const n = h.counts.length;
  const bars = h.counts.map((c, k) => {
    const low = h.low + h.width * k,
      high = k === n - 1 ? h.most : low + h.width;
    return [c, `${text(low)} to ${text(high)}: ${count(c)}`];
  });
  const middle = [0.5, text(h.low + (h.width * n) / 2)];
  const ticks = [[0, text(h.low)], ...(n > 1 ? [middle, [1, text(h.most)]] : [])];
  const all = count(h.counts.reduce((a, b) => a + b, 0));
  const top = `up to ${count(Math.max(...h.counts))} per bar`;
  return el(
    "figure",
    {},
    el("h3", {}, title),
    histogram({ name: `${title}, ${all} values`, top, bars, ticks }),
  );
}
function chips(blocks, text, jump) {
  const chip = (b) => {
    const title = `show ${triple(b.position)} (z, y, x)`;
    return el(
      "button",
      { type: "button", title, onclick: () => jump(b.key) },
      `${count(b.key)}: ${text(b.value)}`,
    );
  };
  return el(
    "ul",
    { class: "chips", "aria-label": "the largest" },
    ...blocks.map((b) => el("li", {}, chip(b))),
  );
}
export function showSpread(stage, figures, jump) {
  at("spread").hidden = !stage || !(stage.seconds || stage.memory);
  if (at("spread").hidden) return;
  at("spread-stage").textContent = `of ${stage.stage}; click one to see where it lies`;
  const memory = stage.memory && spread("Peak memory", stage.memory, bytes);
  memory?.append(chips(stage.fattest, bytes, jump));
  at("histograms").replaceChildren(
    ...(stage.seconds ? [spread("Time", stage.seconds, seconds)] : []),
    ...(memory ? [memory] : []),
  );
  const words = figures.map((f) => `#${capital(f.word)}`);
  const heads = [`#${capital(stage.noun)}`, "Grid (z, y, x)", "Core begins at voxel", ...words, "Host"];
  const rows = stage.slowest.map((b) => [
    el("button", { class: "link", type: "button", onclick: () => jump(b.key) }, count(b.key)),
    triple(b.position),
    triple(b.begin_vox),
    ...figures.map((f) => UNITS[f.unit][1](b[f.name])),
    b.host || "–",
  ]);
  at("slowest").replaceChildren(
    ...(rows.length ? [el("h3", {}, `Slowest ${stage.noun}s`), table(heads, rows)] : []),
  );
}
