"""Configs of the menu tool: every key is carried over, translated, or listed with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from magneton_tasks.cli.config.importing import import_old
from magneton_tasks.config.menu_tool.old_config import KNOWN, OldKey, name_of, read_old
from magneton_tasks.config.menu_tool.old_keys import translate
from magneton_tasks.config.menu_tool.old_translation import Row
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError, MagnetonError, NoInputError, UsageError
from magneton_tasks.runners import this_machine
from tests.helpers import volumes

GIB = 2**30

#: As the tool's own template: FIB-SEM, 3d supervoxels, jobs for Slurm.
TEMPLATE = """
paths:
  input: "file:///gpfs/lab/worm/affinity_bin8"     # precomputed
  output: "file://gpfs/lab/worm/test/full"
  output_local_base: "file:///gpfs/lab/worm/test/blocks/full_block"
mask:
  flag: false
  path: "file:///gpfs/lab/worm/mask"
checkpoint:
  segmentation_dir: "magneton/checkpoints/segmentation"
  merge_dir: "magneton/checkpoints/merge"
block:
  size: [512, 512, 512]
  overlap: [128, 128, 128]
segmentation_stage:
  parallel: true
  workers: 4
  metadata_dir: "magneton/seg_metadata"
  mip: 0
  thresholds: [0.3]
  aff_thresholds: [0.00001, 0.99999]
  supervoxel: "3d"
  interior_threshold: 0.1
  min_distance: 3
  method: "maxima_distance"
  merge_function: 'aff50_his256'
  hpc: {enable: true, scheduler: slurm, job_dir: jobs/seg, blocks_per_job: 1, workers_per_job: 1,
        hpc_num: 4, python_bin: python, time: "00:30:00", cpus: 16, mem: 4G, partition: day,
        extra_modules: [StdEnv], conda: /opt/conda.sh, env: pytc, work_path: .}
merge_stage:
  metadata_dir: "magneton/merge_metadata"
  mip: 0
  min_overlap_vox: 5
  min_frac_local: 0.5
  min_frac_global: 0.5
  max_voxel_size: 1500000
  require_recip: false
  allow_union_amb: true
  dom_ratio: 1.0
  min_iou: 0.5
  export_tif: {enable: true, path: preview.tif, max_slices: 20000}
  hpc: {enable: true, cpus: 16}
"""

#: As later versions: a mode, a cut-out, the keys that the code really read, 2d supervoxels, a mask.
LATER = """
mode: {type: neuron, mito: {seed_threshold: 0.98}, bouton: {neuron_ref_path: file:///n}}
paths: {input: /data/affinity/, output: file:///data/instances, output_local_base: /data/blocks/b}
mask: {flag: true, path: file:///data/mask}
checkpoint: {segmentation_dir: a, merge_dir: b}
block: {size: [64, 128, 128], overlap: [16, 32, 32], roi: [10, 110, 0, 256, 128, 512]}
segmentation_stage:
  parallel: false
  workers: 8
  mip: 1
  thresholds: [0.25, 0.4]
  sv_type: 2d
  supervoxel: 3d
  interior_thr: 0.4
  min_distance: 5
  sv_2d: grid
  merge_function: aff85_his256_ran255
merge_stage:
  workers: 16
  mip: 0
  min_overlap_vox: 20
  min_frac_local: 0.7
  min_frac_global: 0.6
  allow_union_amb: false
"""

#: As the template of the tool's other pipeline, and keys of its export of supervoxels.
GRAPH = """
paths:
  input: "file:///data/affinity/"
  fragments: "file:///data/fragments/"
  output: "file:///data/instances/"
  supervox_output: "file:///data/supervoxels/"
  supervox_agglomerate_npz: /data/agglomerate.npz
block: {core: [384, 512, 512], halo: [128, 128, 128]}
checkpoint: {fragments_dir: a, relabel_dir: b}
fragments_stage: {mip: 0, supervoxel: 3d, interior_threshold: 0.9, hpc: {enable: true, cpus: 2}}
edges_stage: {score_threshold: 0.45}
global_merge_stage: {threshold: 0.45}
relabel_stage: {in_place: false}
segment_props_stage: {dir_name: segment_properties}
segmentation_stage: {emit_supervoxels: true}
merge_stage: {aff_channel_order: zyx, supervox_workers: 4}
"""

#: Names that no file of the tool's has.
FOREIGN = """
paths: {input: file:///a, output: file:///b}
threshold: 0.45
block_size: [192, 192, 192]
segmentation_stage: {thresholdz: [0.2]}
rule: mutual
memory: 6G
colour_of_the_button: blue
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 GiB and 4 cores, wherever the tests run."""
    monkeypatch.setattr(this_machine, "memory_bytes", lambda: 24 * GIB)
    monkeypatch.setattr(this_machine, "cores", lambda: 4)


def rows_of(text: str, tmp_path: Path) -> dict[str, Row]:
    path = tmp_path / "old.yaml"
    path.write_text(text)
    return {row.key: row for row in translate(read_old(path)).table()}


def imported(text: str, tmp_path: Path) -> tuple[Any, Path]:
    """The config that an old one becomes, and its file."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(text)
    import_old(old, new, force=False)
    return load_config(new), new


def keys_of(text: str) -> set[str]:
    def walk(data: dict[str, Any], prefix: str) -> set[str]:
        found = set()
        for key, value in data.items():
            found |= walk(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
        return found

    return walk(yaml.safe_load(text), "")


# ------------------------------------------------------------------ nothing is dropped
@pytest.mark.parametrize(
    "text", [TEMPLATE, LATER, GRAPH, FOREIGN], ids=["template", "later", "graph", "foreign"]
)
def test_every_key_of_the_old_file_is_in_the_table(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, new = imported(text, tmp_path)
    shown = "".join(capsys.readouterr().out.split())
    for key in keys_of(text):
        leaf = key.rpartition(".")[2]
        assert leaf in shown, f"{key} isn't said"
    rows = rows_of(text, tmp_path)
    assert keys_of(text) <= rows.keys()
    assert all(row.text for row in rows.values())
    assert config.paths.input and new.read_text().startswith(
        "# Volume config translated from old.yaml"
    )


def test_the_files_hold_each_known_key() -> None:
    seen = {name_of(key) for text in (TEMPLATE, LATER, GRAPH) for key in keys_of(text)}
    assert seen >= KNOWN


def test_the_tool_s_other_pipeline_is_known_and_left_out(tmp_path: Path) -> None:
    rows = rows_of(GRAPH, tmp_path)
    for key in (
        "block.core",
        "paths.fragments",
        "fragments_stage.mip",
        "global_merge_stage.threshold",
    ):
        assert rows[key].fate == "left out" and "graph pipeline" in rows[key].text
    for key in ("paths.supervox_output", "segmentation_stage.emit_supervoxels"):
        assert rows[key].fate == "left out" and "export of supervoxels" in rows[key].text
    assert "set the sections runner and slurm" in rows["fragments_stage.hpc.cpus"].text
    assert not [key for key, row in rows.items() if row.fate == "unknown"]


def test_no_name_is_guessed(tmp_path: Path) -> None:
    """A value under a name that the tool never read did nothing there, and does nothing here."""
    config, _ = imported(FOREIGN, tmp_path)
    rows = rows_of(FOREIGN, tmp_path)
    for key in ("threshold", "block_size", "rule", "memory", "colour_of_the_button"):
        assert rows[key].fate == "unknown"
    assert "nearest: segmentation_stage.thresholds" in rows["segmentation_stage.thresholdz"].text
    assert config.segment.threshold == 0.6 and config.pool.rule == "any"  # the tool's defaults
    assert config.local.memory is None


def test_the_template_becomes_this(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, _ = imported(TEMPLATE, tmp_path)
    out = " ".join(capsys.readouterr().out.split())
    assert config.paths.input == "file:///gpfs/lab/worm/affinity_bin8"
    assert config.paths.output == "file:///gpfs/lab/worm/test/full"
    assert config.paths.work == "/gpfs/lab/worm/test/blocks/full_block"
    assert config.mask.path is None
    assert (config.segment.threshold, config.segment.merge_function) == (0.7, "aff50_his256")
    assert (config.segment.supervoxels, config.segment.interior_threshold) == ("3d", 0.1)
    assert (config.pool.rule, config.pool.min_frac, config.local.workers) == ("any", 0.5, 4)
    # a URL that names a host
    assert "file://gpfs/... is not a URL of /gpfs/..." in out
    # 512^3 and histograms: said in bytes, and a size that fits proposed
    assert "512 x 512 x 512 with aff50_his256 takes about 39.0 GiB" in out
    assert max(config.block.size) < 512 and max(config.block.overlap) <= 32
    assert f"block.size is now {list(config.block.size)}" in out
    assert "magneton run" in out


@pytest.mark.parametrize(
    ("key", "fate", "said"),
    [
        ("merge_stage.require_recip", "left out", "did nothing with it"),
        ("merge_stage.dom_ratio", "left out", "did nothing with it"),
        ("merge_stage.min_iou", "left out", "did nothing with it"),
        ("merge_stage.max_voxel_size", "left out", "inside the overlap instead of the object"),
        ("merge_stage.min_overlap_vox", "left out", "mutual does"),
        ("segmentation_stage.aff_thresholds", "left out", "did nothing: waterz reads it"),
        ("segmentation_stage.thresholds", "translated", "segment.threshold: 0.7 (its threshold t is 1 - t here"),
        ("segmentation_stage.hpc.time", "left out", "set the sections runner and slurm"),
        ("merge_stage.export_tif.path", "left out", "preview"),
        ("checkpoint.merge_dir", "left out", "records"),
        ("mask.path", "left out", "switched off"),
        ("segmentation_stage.workers", "carried", "local.workers: 4"),
        ("block.size", "carried", "block.size: [512, 512, 512]"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_key_of_the_template(
    key: str, fate: str, said: str, tmp_path: Path
) -> None:
    row = rows_of(TEMPLATE, tmp_path)[key]
    assert row.fate == fate
    assert said in row.text


def test_a_later_file_becomes_this(tmp_path: Path) -> None:
    config, _ = imported(LATER, tmp_path)
    assert config.paths.input == "file:///data/affinity"
    assert config.paths.work == "/data/blocks/b"
    assert config.mask.path == "file:///data/mask"
    assert config.input.mip == 1
    assert config.box is not None
    assert (config.box.begin, config.box.end) == ((10, 0, 128), (110, 256, 512))
    assert (config.block.size, config.block.overlap) == ((64, 128, 128), (16, 32, 32))
    assert config.segment.threshold == 0.75  # the first of two
    assert config.segment.merge_function == "aff85_his256"
    assert config.segment.supervoxels == "2d"  # sv_type is what the tool read
    assert config.segment.interior_threshold == 0.5  # fixed in the tool's 2d
    assert (config.pool.rule, config.pool.min_frac, config.pool.min_overlap_vox) == (
        "mutual",
        0.7,
        20,
    )
    assert config.local.workers == 1  # parallel was off
    rows = rows_of(LATER, tmp_path)
    assert "sv_type stands for the same" in rows["segmentation_stage.supervoxel"].text
    assert "the first" in rows["segmentation_stage.thresholds"].text
    assert "didn't read it" in rows["segmentation_stage.min_distance"].text
    assert "only seeds from the distance transform" in rows["segmentation_stage.sv_2d"].text
    assert "differs from the mip" in rows["merge_stage.mip"].text
    assert "stricter of the two" in rows["merge_stage.min_frac_global"].text
    assert rows["mode.mito.seed_threshold"].fate == "left out"


# ------------------------------------------------------------------ single keys
def one(text: str, key: str, tmp_path: Path) -> Row:
    return rows_of(text, tmp_path)[key]


@pytest.mark.parametrize(
    ("old", "new"), [(0.3, 0.7), (0.0, 1.0), (1, 0), (0.1, 0.9), (0.123, 0.877)]
)
def test_a_threshold_is_turned_round_without_noise(old: float, new: float) -> None:
    found = translate([OldKey("thresholds", "segmentation_stage.thresholds", [old])])
    assert found.values["segment.threshold"] == new


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("segmentation_stage: {thresholds: [1.5]}", "segmentation_stage.thresholds", "must be a number from 0 to 1"),
        ("segmentation_stage: {thresholds: []}", "segmentation_stage.thresholds", "must be a number from 0 to 1"),
        ("segmentation_stage: {merge_function: aff51_his256}", "segmentation_stage.merge_function", "nearest: aff50_his256"),
        ("segmentation_stage: {merge_function: max10}", "segmentation_stage.merge_function", "isn't one that waterz ships"),
        ("segmentation_stage: {supervoxel: 4d}", "segmentation_stage.supervoxel", "must be 3d or 2d"),
        ("segmentation_stage: {supervoxel: 2d}", "segmentation_stage.supervoxel", "read the key sv_type"),
        ("segmentation_stage: {interior_threshold: 0.4}", "segmentation_stage.interior_threshold", "so it took 0.1"),
        ("block: {size: [512, 512]}", "block.size", "three whole numbers"),
        ("block: {roi: [1, 2]}", "block.roi", "[z1, z2, y1, y2, x1, x2]"),
        ("mask:", "mask", "empty"),
        ("mode: {type: mito}", "mode.type", "doesn't have"),
        ("edges_stage: {score_threshold: 0.45}", "edges_stage.score_threshold", "graph pipeline"),
        ("segmentation_stage: {nowhere: 1}", "segmentation_stage.nowhere", "not known"),
    ],
)  # fmt: skip
def test_what_can_t_be_taken_is_said(text: str, key: str, said: str, tmp_path: Path) -> None:
    assert said in one(text, key, tmp_path).text


def test_a_key_that_stands_twice_is_listed_twice(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("segmentation_stage:\n  thresholds: [0.2]\n  thresholds: [0.4]\n")
    found = translate(read_old(path))
    assert found.values["segment.threshold"] == 0.6  # the last counts, as in YAML
    assert len(found.rows) == 2 and "counts" in found.rows[0].text


def test_a_block_that_fits_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this_machine, "memory_bytes", lambda: 1024 * GIB)
    config, new = imported(TEMPLATE, tmp_path)
    assert (config.block.size, config.block.overlap) == ((512,) * 3, (128,) * 3)
    assert "takes about 39.0 GiB" in " ".join(new.read_text().replace("#", "").split())


def test_a_block_that_doesn_t_fit_names_the_exact_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(this_machine, "memory_bytes", lambda: 24 * GIB)
    config, _ = imported(TEMPLATE, tmp_path)
    assert config.block.size < (512,) * 3 and config.method == "overlap"
    assert "method: exact (mean affinity" in capsys.readouterr().out


def test_an_overlap_of_half_the_block_is_narrowed(tmp_path: Path) -> None:
    config, new = imported(
        TEMPLATE.replace("[512, 512, 512]", "[128, 128, 128]").replace(
            "[128, 128, 128]\nsegm", "[64, 64, 64]\nsegm"
        ),
        tmp_path,
    )
    assert config.block.size == (128, 128, 128)
    assert max(config.block.overlap) == 63
    assert "half the block or more" in " ".join(new.read_text().split())


def test_no_more_workers_than_fit(tmp_path: Path) -> None:
    text = TEMPLATE.replace("[512, 512, 512]", "[256, 256, 256]").replace(
        "workers: 4", "workers: 40"
    )
    config, _ = imported(text, tmp_path)
    assert config.block.size == (256, 256, 256)
    assert config.local.workers is not None and config.local.workers < 4


def test_work_never_nests_with_the_output(tmp_path: Path) -> None:
    text = TEMPLATE.replace("test/blocks/full_block", "test/full/blocks").replace(
        "file://gpfs", "file:///gpfs"
    )
    config, _ = imported(text, tmp_path)
    assert config.paths.work == "/gpfs/lab/worm/test/full-work"


def test_an_input_that_is_there_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes.write_precomputed(tmp_path / "probability", volumes.affinities(volumes.cells())[:1])
    text = f"paths: {{input: {tmp_path}/probability, output: {tmp_path}/out}}\n"
    imported(text, tmp_path)
    out = capsys.readouterr().out
    assert "has 1 channel;" in out
    assert "can't be read from here" not in out


# ------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("paths: {output: file:///o}", ConfigError, "nothing was written, because paths.input"),
        ("segmentation_stage: {mip: 0}", ConfigError, "paths.input and paths.output"),
        ("paths: {input: ftp://x/y, output: file:///o}", ConfigError, "paths.input"),
        (TEMPLATE.replace("mip: 0\n  thresholds", "mip: top\n  thresholds"), ConfigError, "couldn't be loaded"),
        ("paths: [1, 2", ConfigError, "malformed YAML"),
        ("just words", ConfigError, "holds no keys"),
        ("", ConfigError, "holds no keys"),
        ("instance_segmentation: {main: a/config.yaml}", ConfigError, "menu's main file"),
        ("paths: {input: file:///a, output: file:///b, work: /c}", UsageError, "already"),
    ],
)  # fmt: skip
def test_what_can_t_become_a_config_writes_nothing(
    text: str, error: type[MagnetonError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        imported(text, tmp_path)
    assert said in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["old.yaml"]


def test_a_file_that_is_there_stays_without_force(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(TEMPLATE)
    new.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        import_old(old, new, force=False)
    assert new.read_text() == "mine"
    import_old(old, new, force=True)
    assert load_config(new).segment.threshold == 0.7


def test_the_old_file_is_never_replaced(tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(TEMPLATE)
    (tmp_path / "link.yaml").symlink_to(old)
    for target in (old, tmp_path / "link.yaml"):
        with pytest.raises(UsageError, match="the old config itself"):
            import_old(old, target, force=True)
    assert old.read_text() == TEMPLATE


def test_without_a_name_it_lies_beside_the_old_one(tmp_path: Path) -> None:
    old = tmp_path / "config.yaml"
    old.write_text(TEMPLATE)
    import_old(old, None, force=False)
    assert load_config(tmp_path / "config-magneton.yaml").pool.rule == "any"


def test_a_missing_file_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        import_old(tmp_path / "none.yaml", None, force=False)


@pytest.mark.parametrize(("text", "threshold"), [(LATER, 0.75), (TEMPLATE, 0.7)])
def test_it_stays_with_waterz_and_its_threshold(
    text: str, threshold: float, tmp_path: Path
) -> None:
    (tmp_path / "old.yaml").write_text(text)
    import_old(tmp_path / "old.yaml", tmp_path / "new.yaml", force=False)
    written = yaml.safe_load((tmp_path / "new.yaml").read_text())
    assert written["method"] == "overlap"
    assert written["segment"]["threshold"] == threshold
