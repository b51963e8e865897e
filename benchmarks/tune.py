"""``magneton tune`` of 20 thresholds against one segmentation of the same box.

Both work in a child forked from a warm process. The one segmentation does what stage segment does
with a block: it reads the affinities, segments them at one threshold, and stores labels and sizes.
Tune reads the truth too and scores each threshold. They take turns, and the least of each counts,
since others work on this machine. What the command costs besides (imports, the picture) is reported,
and what one segmentation costs at the lowest threshold: most of what tune does more is to merge
until there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Row, forked, magneton, row
from benchmarks.volumes import VOXEL_SIZE_NM, real, write_config
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.overlap.segment import segment_block, warm_up
from magneton_tasks.trials import trial as trials
from magneton_tasks.trials import tuning
from magneton_tasks.trials.truth import truth_info
from magneton_tasks.work.inputs import open_affinity
from magneton_tasks.work.labels import LabelStore

MOST = 1.5
TURNS = 7


def run(*, full: bool = False) -> list[Row]:
    """Measure a box of 128^3; ``full``: of 256^3."""
    edge = 256 if full else 128
    with TemporaryDirectory() as directory:
        config = _volume(Path(directory), edge)
        found = []
        for function in ("mean", "aff50_his256"):
            found += _measure(config, f"file://{directory}/truth", function, edge)
        return found


def _volume(directory: Path, edge: int) -> Path:
    arrays = real("pub128")
    if arrays is None:
        from magneton_tasks.sample.volume import make_sample

        sample = make_sample((128, 128, 128), 0)
        arrays = {"affs": sample.affinity, "labels": sample.truth}
    grow = [(0, edge - 128)] * 3
    affinity = np.pad(arrays["affs"], [(0, 0), *grow], mode="reflect")
    truth = np.pad(arrays["labels"], grow, mode="reflect").astype(np.uint64)
    write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)
    write_volume(
        f"file://{directory}/truth",
        truth,
        VOXEL_SIZE_NM,
        encoding="compressed_segmentation",
        layer_type="segmentation",
    )
    return write_config(directory, {"segment": {"aff_thresholds": [0.05, 0.99]}})


def _measure(config: Path, truth: str, function: str, edge: int) -> list[Row]:
    trial = trials.open_trial(config, {}, None, None)
    assert trial.box.shape == (edge,) * 3, trial.box
    settings = trials.settings_of(trial, function)
    reader = open_affinity(trial.config)
    scored = truth_info(truth, 0, trial.info)
    warm_up()

    store = LabelStore(config.parent / f"labels-{function}", (1, 1, 1), trial.box.shape)
    store.create()

    def one(threshold: float = 0.7) -> int:
        chosen = replace(settings, threshold=threshold)
        labels, n = segment_block(reader.read(trial.box), chosen)
        sizes = label_sizes(labels, trial.box.slices(trial.box.begin), n)
        store.write((0, 0, 0), labels)
        store.write_sizes((0, 0, 0), sizes.core, sizes.read)
        return n

    work = tuning._work(trial, scored, function, tuning.DEFAULT_THRESHOLDS)
    once, many, lowest = [], [], []
    for _ in range(TURNS):
        once.append(forked(one)[1])
        many.append(forked(work)[1])
        lowest.append(forked(lambda: one(min(tuning.DEFAULT_THRESHOLDS)))[1])
    once_s, many_s, lowest_s = (min(u.cpu_s for u in used) for used in (once, many, lowest))
    limit = tuning.limits(trial, [function])[function]
    command = magneton(
        "tune", config, "--truth", truth, "--scoring", function, "--plot", config.with_name("t.png")
    )
    n = len(tuning.DEFAULT_THRESHOLDS)
    return [
        row(
            f"tune at {n} thresholds / one segmentation, {edge}^3, {function}",
            many_s / once_s,
            "x",
            most=MOST,
        ),
        row("  tune / one segmentation at the lowest threshold", many_s / lowest_s, "x"),
        row("  one segmentation", once_s, "CPU s"),
        row("  the whole command: imports and picture too", command.cpu_s, "CPU s"),
        row(
            "  tune's peak / that of one segmentation",
            max(u.peak_bytes for u in many) / max(u.peak_bytes for u in once),
            "x",
        ),
        row("  tune's peak / its limit", max(u.peak_bytes for u in many) / limit, "x", most=1.0),
    ]
