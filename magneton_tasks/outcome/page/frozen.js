// The page inside of report.html: its data lie in it, so it asks for nothing.
import { at } from "./format.js";
import { BlockPage } from "./page.js";

const { facts, summary } = JSON.parse(at("page-data").textContent);
let layers = null; // of each stage: unpacked when the first is asked for

async function unpack() {
  const packed = Uint8Array.from(atob(at("page-layers").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function mean(values) {
  const known = (values ?? []).filter((v) => v !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : 0;
}
const page = new BlockPage(
  {
    now: () => facts.made,
    facts: () => facts,
    // `fine`: a layer of blocks, of which several may be one layer of squares
    async layer(stage, wanted, fine) {
      layers ??= await unpack();
      const { head, layers: each } = layers[stage];
      const z = Math.min(Math.max(wanted ?? Math.floor(fine / head.factor[0]), 0), head.layers - 1);
      return { ...head, z, ...each[z] };
    },
    means: (stage, measure) => layers[stage].layers.map((layer) => mean(layer[measure])),
    tell: null,
    trouble(text) {
      at("trouble").hidden = false;
      at("trouble").textContent = `This browser can't draw the block map: ${text}`;
    },
  },
  "seconds",
);
async function open() {
  await page.show(summary);
  const bad = summary.stages.find((s) => s.stage === page.stage).failures[0];
  if (bad && layers) await page.chooseBlock(bad.key);
}
open();
