// What came out: objects and their sizes, and what stays open on the way.
import { histogram, lane } from "./charts.js";
import {
  at,
  code,
  count,
  digits,
  el,
  exact,
  inBytes,
  inNumber,
  inVoxels,
  several,
  si,
  table,
} from "./format.js";

export function showObjects(s) {
  at("objects").hidden = !s.pool;
  if (!s.pool) return;
  const p = s.pool,
    cover = p.foreground_vox / s.volume.voxels;
  const share = el(
    "span",
    { title: `${count(p.foreground_vox)} of ${count(s.volume.voxels)} voxels` },
    `${(cover * 100).toFixed(1)} %`,
  );
  const small = p.left_out ? `; ${count(p.left_out)} smaller than segment.min_size_vox were left out` : "";
  const blocks = several(s.volume.blocks, "block"),
    joins = several(p.joins, "time");
  const text = el(
    "p",
    {},
    s.volume.method === "exact"
      ? `${several(p.labels, "supervoxel")} in ${blocks} merge ${joins} and make `
      : `${several(p.labels, "label")} in ${blocks}, joined ${joins} over block borders, make `,
    el("b", {}, several(p.objects, "object")),
    `${small}. They cover `,
    share,
    " of the volume.",
  );
  const unknown = el("p", { class: "soft" }, "Sizes weren't recorded when this volume was pooled.");
  const charts = sizes(p.sizes);
  const drawn = charts.length ? el("div", { class: "charts" }, ...charts) : p.sizes ? "" : unknown;
  at("objects-body").replaceChildren(text, drawn, ...largest(p));
}
// How many objects of each size there are, and which share of the voxels they hold.
function sizes(found) {
  if (!found?.objects.length) return [];
  const first = found.objects.findIndex((n) => n > 0);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const chart = (name, values, told, top, unit) => {
    const shown = values.slice(first),
      n = shown.length,
      every = Math.max(Math.ceil(n / 6), 1);
    const bars = shown.map((v, i) => {
      const k = first + i;
      return [v, `${count(2 ** k)} to ${count(2 ** (k + 1) - 1)} voxels: ${count(v)} ${unit}, ${told(v)}`];
    });
    const ticks = [];
    for (let k = 0; k <= n; k += every) ticks.push([k / n, si(2 ** (first + k))]);
    return el(
      "figure",
      {},
      histogram({ name, top, bars, ticks, below: "voxels of an object" }),
      el("figcaption", {}, `${name}; each bar holds sizes from one power of two to the next.`),
    );
  };
  const percent = (v, all) => `${((v / all) * 100).toFixed(1)} %`;
  const { objects, voxels } = found,
    [all, whole] = [sum(objects), sum(voxels)];
  const mostObjects = `objects, up to ${si(Math.max(...objects))} per bar`;
  const mostVoxels = `share of the segmented voxels, up to ${percent(Math.max(...voxels), whole)} per bar`;
  const drawn = [
    chart("Objects by size", objects, (v) => `${percent(v, all)} of all`, mostObjects, "objects"),
  ];
  if (!voxels.length) return drawn; // the exact method's pool counts objects alone
  return [
    ...drawn,
    chart(
      "Voxels by object size",
      voxels,
      (v) => `${percent(v, whole)} of the segmented`,
      mostVoxels,
      "voxels",
    ),
  ];
}
function largest(pool) {
  if (!pool.largest.length) return [];
  const heads = ["#Global id", "#Voxels", "#Share of the segmented", ""];
  const counted = pool.largest.some((o) => o.labels); // the exact method doesn't
  if (counted) heads.push("#Labels", "#Blocks");
  const rows = pool.largest.map((o) => {
    const share = (o.voxels / pool.foreground_vox) * 100;
    const percent = exact(share, (n) => `${digits(n)} %`, `${share.toFixed(6)} %`);
    const bar = lane({ width: share, height: 8 });
    const more = counted ? [inNumber(o.labels), inNumber(o.blocks)] : [];
    return [code(o.global_id), inVoxels(o.voxels), percent, bar, ...more];
  });
  return [el("h3", {}, "Largest objects"), table(heads, rows)];
}

// ------------------------------------------------------------------ method exact
export function showOpen(s) {
  const stages = s.stages.filter((x) => x.open);
  at("open").hidden = !stages.length;
  if (!stages.length) return;
  const heads = [
    "Stage",
    "#Blocks or groups",
    "#Open regions",
    "#Open edges",
    "#Edges per face voxel",
    "#Stored",
  ];
  const rows = stages.map((x) => {
    const { regions, edges, face_voxels: faces } = x.open;
    const per = faces ? (edges / faces).toFixed(2) : "–";
    return [x.stage, inNumber(x.total), inNumber(regions), inNumber(edges), per, inBytes(x.stored_bytes)];
  });
  at("open-body").replaceChildren(table(heads, rows));
}
