// The page of a run: what its summary says, and its block map. Where the data come from is a source:
// the server while the run goes on, or what lies inside of report.html.
import { showCommands, showRun, showSettings } from "./about.js";
import { at } from "./format.js";
import { failuresOf, showDiffers, showHead, showState } from "./head.js";
import { LayerMap } from "./layer_map.js";
import { showFailures, showRunning, showSpread } from "./lists.js";
import { showObjects, showOpen } from "./objects.js";
import { showStages } from "./stages.js";

const busy = (counts) => counts && (counts.f || counts.c || counts.r);

export class BlockPage {
  // `source`: now() in unix seconds, facts(), layer(stage, z), means(stage, measure), trouble(text) and,
  // null where nothing more is known, tell(stage, key); `measure`: by what the map is coloured first.
  constructor(source, measure) {
    this.source = source;
    this.summary = this.facts = this.stage = this.z = this.asked = null;
    this.followed = true; // until a person chooses
    this.map = new LayerMap({
      ask: (wanted) => {
        this.followed = false;
        return this.askLayer(wanted);
      },
      tell: source.tell && ((key) => source.tell(this.stage, key)),
      means: (name) => source.means(this.stage, name),
      measure,
    });
    at("map-stage").addEventListener("change", (event) => this.choose(event.target.value));
    window.addEventListener("beforeprint", () => {
      for (const details of document.querySelectorAll("details")) details.open = true;
    });
    for (const query of ["(prefers-color-scheme: dark)", "print"]) {
      window.matchMedia(query).addEventListener("change", () => this.map.draw());
    }
  }
  get row() {
    return this.summary.stages.find((s) => s.stage === this.stage);
  }

  // ---------------------------------------------------------------- showing
  async show(summary) {
    const before = this.summary,
      changed = before?.version !== summary.version,
      anew = before?.directory !== summary.directory;
    this.summary = summary;
    showState(
      summary.state,
      summary.proof,
      summary.state === "failed" ? failuresOf(summary).at(-1)?.stage : null,
    );
    showHead(summary, this.source.now());
    showRunning(summary, this.source.now(), this.jump);
    if (!changed && !anew) return;
    if (anew || !this.facts) {
      this.facts = await this.source.facts();
      showSettings(this.facts);
      showDiffers(this.facts.before);
    }
    const drawn = summary.stages.filter((s) => s.has_map);
    if (!this.stage || this.followed) this.follow(drawn);
    at("map-stage").replaceChildren(...drawn.map((s) => new Option(s.stage, s.stage)));
    at("map-stage").value = this.stage;
    showFailures(summary, this.facts, this.jump);
    showCommands(summary, this.facts);
    showObjects(summary);
    showOpen(summary);
    showRun(summary, this.facts);
    this.showStage();
    await this.askLayer(this.z);
  }
  showStage() {
    showStages(this.summary, this.source.now(), this.stage, (stage) => this.choose(stage));
    showSpread(this.row, this.facts.figures, (key) => this.jump(this.stage, key));
  }
  // The stage that a person wants to see first: where something failed, else what runs, else the last
  // that is begun; in it, on to the layer where something happens.
  follow(drawn) {
    const begun = drawn.filter((s) => s.done + s.empty + s.running > 0);
    const open = drawn.find((s) => s.failed) || drawn.find((s) => s.running) || begun.find((s) => s.queued);
    const found = open || begun[0] || drawn[0];
    if (found.stage !== this.stage) this.z = null;
    this.stage = found.stage;
    if (this.z !== null && !busy(this.row.layers[this.z])) this.z = this.firstLayer();
  }
  firstLayer() {
    const { layers } = this.row;
    const find = (...letters) => layers.findIndex((n) => letters.some((l) => n[l]));
    const [failed, running] = [find("f", "c"), find("r")];
    if (failed >= 0) return failed;
    return running >= 0 ? running : (this.z ?? Math.floor(layers.length / 2));
  }
  // `wanted`: a layer of squares; null: the one to begin with.
  async askLayer(wanted) {
    const fine = wanted === null ? this.firstLayer() : null;
    const question = {};
    this.asked = question;
    try {
      const layer = await this.source.layer(this.stage, wanted, fine);
      if (this.asked !== question) return; // another was asked for meanwhile
      this.z = layer.z;
      this.map.show(layer, this.row, this.summary, this.facts.figures);
    } catch (error) {
      this.source.trouble(error.message);
    }
  }

  // ---------------------------------------------------------------- choosing
  choose(wanted) {
    this.followed = false;
    if (wanted !== this.stage) {
      this.stage = wanted;
      this.z = null;
    }
    at("map-stage").value = this.stage;
    this.showStage();
    return this.askLayer(this.z);
  }
  jump = async (stage, key) => {
    const found = this.summary.stages.find((s) => s.stage === stage);
    if (!found?.has_map) return;
    await this.choose(stage);
    await this.chooseBlock(key);
    at("blocks").scrollIntoView({ block: "start" });
    await this.source.tell?.(stage, key);
  };
  async chooseBlock(key) {
    const { grid, factor } = this.map.data;
    const z = Math.floor(key / (grid[1] * grid[2] * factor[0]));
    if (z !== this.z) await this.askLayer(z);
    this.map.chooseKey(key);
  }
}
