// Everything of the block map's page but the map: figures, stages, histograms, failures, objects.

import {
  about,
  at,
  bytes,
  clock,
  count,
  digits,
  el,
  moment,
  pair,
  seconds,
  si,
  svg,
  times,
  triple,
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
export function showState(state, proof) {
  const pill = at("state");
  pill.hidden = false;
  pill.className = `state ${state === "unreadable" ? "failed" : state}`;
  pill.textContent = WORDS[state] + (proof ? `: ${proof}` : "");
}
function figure(name, value, unit, title) {
  return el(
    "div",
    { title: title || null },
    el("dt", {}, name),
    el("dd", {}, value, ...(unit ? [" ", el("small", {}, unit)] : [])),
  );
}
export function showFigures(s) {
  const now = s.state === "running" ? Date.now() / 1000 : s.ended,
    cpu = s.stages.reduce((sum, x) => sum + (x.cpu_s || 0), 0);
  at("figures").replaceChildren(
    figure("Volume", si(s.volume.voxels), "voxels"),
    figure("Blocks", count(s.volume.blocks)),
    figure(
      "Threshold",
      String(s.volume.threshold.value),
      s.volume.threshold.source_words,
      s.volume.threshold.levels,
    ),
    ...(s.pool ? [figure("Objects", si(s.pool.objects))] : []),
    figure(s.state === "running" ? "Time so far" : "Time", seconds(Math.max(now - s.planned, 0))),
    ...(s.left_s !== null ? [figure("Time left, about", about(s.left_s))] : []),
    ...(cpu ? [figure("CPU time", seconds(cpu))] : []),
  );
  at("partition").textContent = s.partition || "";
  at("lead").replaceChildren(
    "Run ",
    el("b", {}, s.run),
    `, attempt ${s.attempt}, planned ${moment(s.planned)}`,
    ...(s.state === "running" ? [] : [`, ended ${moment(s.ended)}`]),
    s.nothing_to_do ? ". Nothing was to do: all was done by earlier runs." : "",
  );
  const notes = [...s.notes, ...(s.pool?.warning ? [s.pool.warning] : [])];
  at("notes").replaceChildren(...notes.map((n) => el("p", { class: "warning" }, el("b", {}, "Note: "), n)));
}

// ------------------------------------------------------------------ stages
function progress(x) {
  const text = ["done", "empty", "running", "queued", "failed", "missing", "stale"]
    .filter((k) => x[k])
    .map((k) => `${count(x[k])} ${k}`)
    .join(", ");
  const bar = el("div", { class: "progress", role: "img", title: text, "aria-label": `${x.stage}: ${text}` });
  for (const name of ["done", "empty", "running", "failed"]) {
    const part = el("i", { class: name });
    part.style.width = `${(x[name] / x.total) * 100}%`;
    if (x[name]) bar.append(part);
  }
  return bar;
}
function memory(x) {
  if (!x.bound_bytes) return "";
  const whole = Math.max(x.bound_bytes, x.peak_bytes || 0),
    part = el("i", { class: x.peak_bytes > x.bound_bytes ? "above" : null }),
    mark = el("b");
  part.style.width = `${((x.peak_bytes || 0) / whole) * 100}%`;
  mark.style.left = `calc(${(x.expected_bytes / whole) * 100}% - 2px)`;
  const text = `peak ${x.peak_bytes ? bytes(x.peak_bytes) : "unknown"}, expected ${bytes(x.expected_bytes)}, at most ${bytes(x.bound_bytes)}`;
  return el(
    "span",
    {},
    el("span", { class: "meter", role: "img", title: text, "aria-label": text }, part, mark),
    " ",
    el("small", {}, `≤ ${bytes(x.bound_bytes)}`),
  );
}
export function showStages(s, chosen, choose) {
  const focused = document.activeElement?.closest?.("#stage-rows tr")?.dataset.stage;
  const rows = s.stages.map((x) => {
    const open = x.running + x.queued,
      done = x.done + x.empty;
    const rest = [x.before ? `${count(x.before)} before` : "", x.running ? `${count(x.running)} running` : ""]
      .filter(Boolean)
      .join(", ");
    const pick = x.has_map ? () => choose(x.stage) : null;
    return el(
      "tr",
      {
        "data-stage": x.stage,
        "aria-selected": x.stage === chosen ? "true" : "false",
        class: x.asked ? null : "unasked",
        onclick: pick,
      },
      el(
        "th",
        { scope: "row" },
        pick
          ? el("button", { type: "button", title: `show the ${x.noun}s of ${x.stage}` }, x.stage)
          : x.stage,
        x.asked ? null : el("small", {}, " not asked for"),
      ),
      el("td", {}, progress(x)),
      el("td", { class: "n" }, `${count(done)} of ${count(x.total)}`, rest ? el("small", {}, rest) : null),
      el(
        "td",
        { class: x.failed ? "n bad" : "n" },
        count(x.failed),
        x.stale ? el("small", {}, `${count(x.stale)} stale`) : null,
      ),
      el("td", { class: "n" }, x.voxels_per_s ? si(x.voxels_per_s) : "–"),
      el("td", { class: "n" }, x.left_s !== null && open && s.alive ? about(x.left_s) : "–"),
      el(
        "td",
        { class: "n" },
        x.cpu_s !== null ? seconds(x.cpu_s) : "–",
        x.expected_cpu_s ? el("small", {}, `exp. ${about(x.expected_cpu_s)}`) : null,
      ),
      el("td", { class: "n" }, x.peak_bytes ? bytes(x.peak_bytes) : "–"),
      el("td", {}, memory(x)),
    );
  });
  at("stage-rows").replaceChildren(...rows);
  if (focused) at("stage-rows").querySelector(`tr[data-stage="${focused}"] button`)?.focus();
}

// ------------------------------------------------------------------ histograms
function chart(title, h, text, list, jump) {
  const n = h.counts.length,
    step = 400 / n,
    top = Math.max(...h.counts);
  const bars = h.counts.map((c, k) => {
    const low = h.low + h.width * k,
      high = k === n - 1 ? h.most : low + h.width,
      height = (c / top) * 110;
    return svg(
      "rect",
      { class: "bar", x: k * step + 0.5, y: 120 - height, width: Math.max(step - 1.5, 1), height },
      svg("title", {}, `${text(low)} to ${text(high)}: ${count(c)}`),
    );
  });
  const tick = (x, value, anchor) => svg("text", { x, y: 136, "text-anchor": anchor }, value);
  const drawing = svg(
    "svg",
    {
      viewBox: "-4 -14 408 156",
      role: "img",
      "aria-label": `${title}, ${count(h.counts.reduce((a, b) => a + b, 0))} values`,
    },
    svg("text", { x: 0, y: -3 }, `up to ${count(top)} a bar`),
    ...bars,
    svg("line", { class: "axis", x1: 0, x2: 400, y1: 120.5, y2: 120.5 }),
    tick(0, text(h.low), "start"),
    ...(n > 1 ? [tick(200, text(h.low + (h.width * n) / 2), "middle"), tick(400, text(h.most), "end")] : []),
  );
  const chips = list.map((b) =>
    el(
      "li",
      {},
      el(
        "button",
        { type: "button", title: `show ${triple(b.position)} (z, y, x)`, onclick: () => jump(b.key) },
        `${count(b.key)}: ${text(b.value)}`,
      ),
    ),
  );
  return el(
    "figure",
    {},
    el("h3", {}, title),
    drawing,
    el("ul", { class: "chips", "aria-label": "the largest" }, ...chips),
  );
}
export function showSpread(stage, jump) {
  at("spread").hidden = !stage || !(stage.seconds || stage.memory);
  if (at("spread").hidden) return;
  at("spread-stage").textContent = `of ${stage.stage}; the highest below, click one to see where it lies`;
  at("histograms").replaceChildren(
    ...(stage.seconds ? [chart("Time", stage.seconds, seconds, stage.slowest, jump)] : []),
    ...(stage.memory ? [chart("Peak memory", stage.memory, bytes, stage.fattest, jump)] : []),
  );
}

// ------------------------------------------------------------------ what failed, what runs
export function showFailures(s, jump) {
  const rows = [...s.stages.flatMap((x) => x.failures), ...s.outside];
  at("failures").hidden = !rows.length;
  at("failure-rows").replaceChildren(
    ...rows.slice(0, 100).map((f) => {
      const known = f.key !== null && f.key !== undefined && f.position;
      const where = known
        ? el(
            "button",
            { class: "link", type: "button", onclick: () => jump(f.stage, f.key) },
            `${f.stage} ${count(f.key)}`,
          )
        : f.stage;
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, where),
        el(
          "td",
          {},
          el("p", { class: "cause" }, f.cause || "unknown"),
          f.hint ? el("p", { class: "soft" }, f.hint) : null,
        ),
        el("td", { class: "n" }, f.exit_code ?? "–"),
        el("td", {}, f.host || "–"),
        el("td", {}, f.time ? moment(f.time) : "–"),
      );
    }),
  );
}
export function showRunning(s, jump) {
  const now = Date.now() / 1000,
    running = s.stages.flatMap((x) => x.running_now.map((r) => ({ ...r, stage: x.stage })));
  at("running").hidden = !running.length;
  at("running-list").replaceChildren(
    ...running.map((r) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", onclick: () => jump(r.stage, r.key) },
          `${r.stage} ${count(r.key)}, for ${seconds(Math.max(now - r.since, 0))}`,
        ),
      ),
    ),
  );
}

// ------------------------------------------------------------------ pool, cost
export function showPool(s) {
  at("pool").hidden = !s.pool;
  if (!s.pool) return;
  const p = s.pool,
    cover = p.foreground_vox / s.volume.voxels;
  const text = el(
    "p",
    {},
    `${count(p.labels)} labels in ${count(s.volume.blocks)} blocks, joined ${count(p.joins)} times over block borders, make `,
    el("b", {}, `${count(p.objects)} objects`),
    `. They cover ${(cover * 100).toFixed(1)} % of the volume.`,
  );
  const rows = p.largest.map((o) => {
    const share = (o.voxels / p.foreground_vox) * 100,
      bar = el("i"),
      meter = el("span", { class: "meter" }, bar);
    bar.style.width = `${share}%`;
    return el(
      "tr",
      {},
      el("th", { scope: "row", class: "n" }, el("code", {}, String(o.global_id))),
      el("td", { class: "n" }, si(o.voxels)),
      el("td", { class: "n" }, `${digits(share)} %`),
      el("td", {}, meter),
      el("td", { class: "n" }, count(o.labels)),
      el("td", { class: "n" }, count(o.blocks)),
    );
  });
  const heads = [
    ["Largest: global id", 1],
    ["Voxels", 1],
    ["Share", 1],
    ["", 0],
    ["Labels", 1],
    ["Blocks", 1],
  ].map(([h, n]) => el("th", { scope: "col", class: n ? "n" : null }, h));
  const table = el(
    "div",
    { class: "scroll" },
    el("table", { class: "narrow" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
  );
  at("pool-body").replaceChildren(text, ...(rows.length ? [table] : []));
}
export function showCost(s) {
  const c = s.cost,
    v = s.volume;
  at("cost-list").replaceChildren(
    ...pair(
      "Time",
      `${seconds(c.expected_s)} with ${count(c.workers)} ${c.workers === 1 ? "worker" : "workers"} (${about(c.cpu_s)} of CPU), in ${count(c.batches)} batches by the runner ${s.runner}`,
    ),
    ...pair("Memory", `at most ${bytes(c.memory_limit_bytes)} a process`),
    ...pair(
      "Output",
      `${count(c.files)} files, about ${bytes(c.output_bytes)}; labels between the stages about ${bytes(c.label_bytes)}`,
    ),
    ...pair(
      "Volume",
      `${times(v.shape_vox)} voxels (z, y, x) from ${triple(v.begin_vox)}, method ${v.method}; ${count(v.blocks)} blocks (${times(v.grid)}) of at most ${times(v.read_vox)}`,
    ),
    ...pair("Input", el("code", {}, v.input)),
    ...pair("Segmentation", el("code", {}, v.output)),
    ...pair("Attempt", el("code", {}, s.directory)),
  );
}
export function showLooked() {
  at("looked").textContent = `Last look ${clock(Date.now() / 1000)}.`;
}
