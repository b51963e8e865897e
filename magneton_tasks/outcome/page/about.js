// What was run: the plan, the input, the settings, and the commands to look at it and to go on.
import {
  about,
  at,
  bytes,
  code,
  count,
  el,
  inBytes,
  pair,
  seconds,
  several,
  table,
  times,
  triple,
} from "./format.js";
import { differsPair } from "./head.js";

export function showCommands(s, facts) {
  const { look } = facts;
  at("result-title").textContent = s.state === "verified" ? "Result" : "Result so far";
  at("commands").replaceChildren(
    ...pair("Look at it", code(look.view)),
    ...pair("Layer for Neuroglancer or CloudVolume", code(look.source)),
    ...(look.path ? pair("Directory", code(look.path)) : []),
    ...pair("Its state", code(look.status)),
    ...pair(
      "Continue, or update it",
      code(look.run),
      el("span", { class: "soft" }, " computes only what is missing or has changed"),
    ),
  );
}
function blocks(v) {
  const alone = "side by side: method exact, the result doesn't depend on them";
  const how =
    v.method === "exact"
      ? `each at most ${times(v.read_vox)} voxels, ${alone}`
      : `each reads at most ${times(v.read_vox)} voxels, neighbours overlap by ${times(v.overlap_vox)}`;
  return `${count(v.blocks)} (${times(v.grid)}), ${how}`;
}
function sizes(v) {
  const um = v.voxel_size_nm.map((nm, a) => Number(((v.shape_vox[a] * nm) / 1000).toPrecision(3)));
  return `${v.voxel_size_nm.join(" × ")} nm (z, y, x): ${um.join(" × ")} µm`;
}
const versions = (found) =>
  Object.entries(found)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");

export function showRun(s, facts) {
  const v = s.volume,
    t = v.threshold;
  const written = s.stages.filter((x) => ["apply", "downsample"].includes(x.stage));
  const stored = written.reduce((sum, x) => sum + (x.stored_bytes || 0), 0);
  const mips = several(v.mips, "additional mip");
  const output = `: written in ${several(v.cells, "cell")}, ${mips}, ${several(v.output_files, "file")}`;
  const chunks = `chunks of ${times(v.chunk_size_vox)}`;
  const input = `, mip ${v.mip}, ${several(v.channels, "channel")} of ${v.dtype} in ${chunks}`;
  const box = `${times(v.shape_vox)} voxels (z, y, x) from ${triple(v.begin_vox)} to ${triple(v.end_vox)}`;
  const hosts = s.hosts.length ? `; worked on ${s.hosts.join(", ")}` : "";
  at("run-list").replaceChildren(
    ...pair("Config", code(facts.config), ...(s.partition ? [", partition ", code(s.partition)] : [])),
    ...pair("Input", code(v.input), input),
    ...pair(v.is_cut_out ? "Cut-out" : "Volume", box),
    ...pair("Voxel size", sizes(v)),
    ...pair("Blocks", blocks(v)),
    ...pair(
      "Method",
      `${v.method}, threshold ${t.value ?? ""} ${t.source_words}${t.levels ? `: ${t.levels}` : ""}`,
    ),
    ...differsPair(facts.before),
    ...pair("Segmentation", code(v.output), output, ...(stored ? [", ", inBytes(stored)] : [])),
    ...pair("Stages asked for", facts.asked.join(", ") + (facts.restart ? ", restarted" : "")),
    ...pair("Runner", `${s.runner}, ${several(s.cost.workers, "worker")} planned${hosts}`),
    ...pair("Versions", `${versions(facts.versions.libraries)}; kernels ${versions(facts.versions.kernels)}`),
    ...pair("Attempt", code(facts.directory), " (frozen config, plan, results, logs, report.json)"),
    ...pair("Work directory", code(v.work)),
  );
  const c = s.cost;
  const batches = `in ${several(c.batches, "batch", "batches")}`;
  const labels = `labels between the stages about ${bytes(c.label_bytes)}`;
  at("cost-list").replaceChildren(
    ...pair(
      "Time",
      `${seconds(c.expected_s)} with ${several(c.workers, "worker")} (${about(c.cpu_s)} of CPU), ${batches}`,
    ),
    ...pair("Memory", `at most ${bytes(c.memory_limit_bytes)} per process`),
    ...pair("Output", `${several(c.files, "file")}, about ${bytes(c.output_bytes)}; ${labels}`),
  );
}

// ------------------------------------------------------------------ settings
function setting(key, value) {
  if (key.endsWith(".memory") && typeof value === "number") return bytes(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
export function showSettings(facts) {
  const parts = [true, false].map((changed) => {
    const some = facts.settings.filter((x) => x.changed === changed);
    if (!some.length) return "";
    const heads = ["Key", "Value", ...(changed ? ["Default"] : []), "Meaning"];
    const rows = some.map((x) => {
      const standard =
        x.default === undefined ? el("span", { class: "none" }, "–") : code(setting(x.key, x.default));
      const value = el("span", { title: JSON.stringify(x.value) }, code(setting(x.key, x.value)));
      return [
        code(x.key),
        value,
        ...(changed ? [standard] : []),
        el("span", { class: "soft" }, x.meaning || ""),
      ];
    });
    const title = `${changed ? "Given: differs from the default" : "Defaults"} (${some.length})`;
    const kind = changed ? "settings changed" : "settings";
    return el("details", { open: changed }, el("summary", {}, title), table(heads, rows, kind));
  });
  at("settings-body").replaceChildren(...parts);
}
