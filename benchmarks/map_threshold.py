"""The default method, whose threshold the map itself tells: how good it is untuned, and what it costs.

The real volumes of the shared data, as they are and with their affinities distorted as another
network's calibration would: by powers, raised (.5 + a / 2) and lowered (a / 2). Overlap at .7, the
default of 0.1, is measured beside it. Left out where the shared data isn't there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmarks.in_process import stages_in_one_process
from benchmarks.measure import Row, forked, row
from benchmarks.volumes import VOXEL_SIZE_NM, real, reflected, source, write_config
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.methods import ExactSettings, SegmentSettings
from magneton_tasks.config.read import load_config
from magneton_tasks.config.settings import exact_settings

UInt8 = NDArray[np.uint8]

#: Most VI of a run with three paths, by volume; most above a distorted map's own best, bits.
MOST_VI = {"pub128": 0.62, "real_gala_train": 1.15}
MOST_LOST = 0.40
#: Most of the sampling's CPU: block steps of the same voxels; share of a run of a billion voxels.
MOST_BLOCK_STEPS = 1.3
MOST_SHARE = 0.03
THRESHOLDS = [round(0.02 + 0.01 * k, 2) for k in range(97)]
DISTORTIONS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda p: p, "p^0.4": lambda p: p**0.4, "p^0.6": lambda p: p**0.6,
    "p^1.6": lambda p: p**1.6, "p^2.5": lambda p: p**2.5, "raised": lambda p: 0.5 + p / 2,
    "lowered": lambda p: p * 127 / 255,
}  # fmt: skip


def run(*, full: bool = False) -> list[Row]:
    """Measure quality on all maps, and the cost on a volume that is looked at in boxes."""
    rows = []
    for name, most in MOST_VI.items():
        arrays = real(name)
        if arrays is None:
            rows.append(row(f"{name}: no shared data here, left out", "-", ""))
            continue
        rows += _defaults(name, arrays, most)
        for distortion, change in DISTORTIONS.items():
            rows += _distorted(name, arrays, distortion, change)
    return rows + _cost()


# ------------------------------------------------------------------ quality
def _defaults(name: str, arrays: dict[str, Any], most: float) -> list[Row]:
    """VI of whole runs with nothing set but the paths, and of overlap's defaults."""
    found = {}
    for method in ({}, {"method": "overlap"}):
        with TemporaryDirectory() as directory:
            scores, _ = forked(lambda m=method, d=directory: _whole(Path(d), arrays, m))  # type: ignore[misc]
        found[method.get("method", "default")] = scores
    plain, overlap = found["default"], found["overlap"]
    return [
        row(f"{name}: a config of three paths", plain["vi"], "VI, bits", most=most, **plain),
        row("  method: overlap, its defaults", overlap["vi"], "VI, bits", **overlap),
    ]


def _whole(directory: Path, arrays: dict[str, Any], method: dict[str, str]) -> dict[str, Any]:
    from magneton_tasks.formats.precomputed.write import write_volume
    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.kernels.evaluate import evaluate

    write_volume(f"file://{directory}/affinity", arrays["affs"], VOXEL_SIZE_NM)
    paths = {
        "input": f"file://{directory}/affinity", "output": f"file://{directory}/out",
        "work": f"{directory}/work",
    }  # fmt: skip
    config = directory / "volume.yaml"
    config.write_text(yaml.safe_dump({"paths": paths, **method}))
    stages_in_one_process(config)
    volume = open_volume(paths["output"])
    scores = evaluate(volume.read(volume.info.box)[0], arrays["labels"])
    return {"vi": scores.vi, "vi_split": scores.vi_split, "vi_merge": scores.vi_merge}


def _distorted(
    name: str, arrays: dict[str, Any], distortion: str, change: Callable[[Any], Any]
) -> list[Row]:
    table = np.rint(255 * change(np.arange(256) / 255)).astype(np.uint8)
    affinity, truth = table[arrays["affs"]], arrays["labels"]
    found, _ = forked(lambda: _scores(affinity, truth))
    best, at = found["best"], found["threshold"]
    most = None if distortion == "as it is" else MOST_LOST
    title = f"{name}, {distortion}: threshold {at:g} of the map, above its own best ({best:.3f})"
    overlap = found["overlap"] - best
    return [
        row(title, found["vi"] - best, "bits", most=most, **found),
        row("  overlap at 0.7, above that best", overlap, "bits"),
    ]


def _scores(affinity: UInt8, truth: NDArray[Any]) -> dict[str, Any]:
    """VI at the map's own threshold and at the best one, of one block; of overlap at its defaults."""
    from magneton_tasks.kernels.evaluate import evaluate
    from magneton_tasks.kernels.exact.map_threshold import choose
    from magneton_tasks.kernels.exact.threshold_sums import threshold_sums
    from magneton_tasks.kernels.overlap.segment import segment_block
    from magneton_tasks.kernels.overlap.sweep import score_exact_sweep

    chosen = choose(threshold_sums(affinity.copy(), ExactSettings(0.5)))
    tried = sorted({*THRESHOLDS, chosen.value})
    scores = dict(score_exact_sweep(affinity.copy(), ExactSettings(0.5), tried, truth))
    best = min(THRESHOLDS, key=lambda t: scores[t].vi)
    settings = SegmentSettings(0.7, "aff50_his256")
    labels, _ = segment_block((affinity / np.float32(255)).astype(np.float32), settings)
    return {
        "threshold": chosen.value,
        "warned": list(chosen.warned),
        "vi": scores[chosen.value].vi,
        "best": scores[best].vi,
        "best_at": best,
        "overlap": evaluate(labels, truth).vi,
    }


# ------------------------------------------------------------------ cost
def _cost() -> list[Row]:
    """Sampling in boxes against block steps of the same boxes, and against a run."""
    from magneton_tasks.formats.precomputed.write import write_volume

    with TemporaryDirectory() as name:
        directory, edge = Path(name), 384
        url = f"file://{directory}/affinity"
        forked(lambda: write_volume(url, reflected(source(), (edge,) * 3), VOXEL_SIZE_NM))
        config = write_config(directory, {"method": "exact", "apply": {"mips": 0}})
        measured, _ = forked(lambda: _sampling(config))
        part = {"begin": [0, 0, 0], "end": [256, 256, 256]}
        smaller = write_config(
            directory, {"method": "exact", "box": part, "block": {"size": [256, 256, 256]}}
        )
        (seconds, _), _ = forked(lambda: stages_in_one_process(smaller))
    sampled, steps = min(m[0] for m in measured), min(m[1] for m in measured)
    run_s = sum(seconds.values()) / 256**3 * 1e9
    return [
        row(
            "sampling / block steps of the same voxels", sampled / steps, "x", most=MOST_BLOCK_STEPS
        ),
        row("sampling of a large volume, without start-up", sampled, "CPU s"),
        row("  share of a run of a billion voxels", sampled / run_s, "", most=MOST_SHARE),
    ]


def _sampling(config_path: Path) -> list[tuple[float, float]]:
    """CPU seconds of sampling, and of reading and segmenting the same boxes; three times in turn."""
    from time import process_time

    from magneton_tasks.formats.exact_reader import ExactReader
    from magneton_tasks.kernels.exact.block_faces import Place
    from magneton_tasks.kernels.exact.block_step import segment_block_exact
    from magneton_tasks.stages.planning.map_samples import measured, places
    from magneton_tasks.work.inputs import open_affinity

    config = load_config(config_path)
    affinity = open_affinity(config)
    boxes = places(affinity.info.box, affinity.info.chunk_size, affinity.info.box.begin)
    settings, nowhere = exact_settings(config, 0.3), ((False, False),) * 3

    def step(box: Box) -> None:
        values, high = ExactReader(affinity, None, box).read(box)
        segment_block_exact(values, high, Place(0, (0, 0, 0), box.shape, nowhere), settings)

    measured(config, affinity, None, boxes[:1])
    step(boxes[0])  # both are compiled
    found = []
    for _ in range(3):
        began = process_time()
        _, tried = measured(config, affinity, None, boxes)
        middle = process_time()
        for box in boxes[:tried]:
            step(box)
        found.append((middle - began, process_time() - middle))
    return found
