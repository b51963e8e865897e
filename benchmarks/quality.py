"""Quality over block borders: VI to truth of blocks against one block, on real data, all four rules.

The demands name a threshold without saying whose: the config's is an affinity, and waterz's own is
1 - affinity. Both readings are measured; the demand is checked on the config's, literally.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import MAGNETON, ROOT, Row, command, row
from magneton_tasks.geometry import Vec3
from magneton_tasks.kernels.evaluate import evaluate
from magneton_tasks.kernels.segment import SegmentSettings, segment_block
from magneton_tasks.stores.precomputed import write_volume
from magneton_tasks.stores.volumes import open_volume

DATA = ROOT.parent / "shared" / "data"
RULES = ("mutual", "both", "iou", "any")


@dataclass(frozen=True, slots=True)
class Case:
    """One volume, how it's cut, and how much VI the cuts may cost."""

    name: str
    size: Vec3
    overlap: Vec3
    aff_thresholds: tuple[float, float]
    threshold: float
    most: float


CASES = (
    Case("pub128", (96, 96, 96), (32, 32, 32), (0.05, 0.99), 0.7, 0.05),
    Case("real_gala_train", (50, 96, 96), (0, 32, 32), (0.01, 0.99), 0.85, 0.25),
)


def run(full: bool = False) -> list[Row]:
    """VI of blocks minus VI of one block, in bits."""
    if not DATA.is_dir():
        return [row("quality: not measured, the real data aren't there", "-", "")]
    return [r for case in CASES for r in _case(case)]


def _case(case: Case) -> list[Row]:
    data = np.load(DATA / f"{case.name}.npz")
    affinity, truth = data["affs"], data["labels"].astype(np.uint64)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_volume(f"file://{root}/affinity", affinity, (40, 8, 8), (0, 0, 0), (64, 64, 64))
        for threshold in (case.threshold, round(1 - case.threshold, 2)):
            settings = SegmentSettings(threshold, "mean", "waterz", case.aff_thresholds)
            scaled = affinity.astype(np.float32) / np.float32(255)
            single = evaluate(segment_block(scaled, settings).labels, truth)
            literal = threshold == case.threshold
            name = f"{case.name}, affinity {threshold:g}"
            rows.append(row(f"{name}: one block", single.vi, "VI", arand=single.arand))
            for rule in RULES:
                found = _blocks(root, case, threshold, rule, truth)
                demand = case.most if literal and rule == "mutual" else None
                rows.append(
                    row(
                        f"  {rule}, above one block", found - single.vi, "VI", most=demand, vi=found
                    )
                )
    return rows


def _blocks(root: Path, case: Case, threshold: float, rule: str, truth: np.ndarray) -> float:
    config = root / "volume.yaml"
    config.write_text(
        f"paths: {{input: 'file://{root}/affinity', output: 'file://{root}/segmentation', work: '{root}/work'}}\n"
        f"block: {{size: {list(case.size)}, overlap: {list(case.overlap)}}}\n"
        f"segment: {{merge_function: mean, threshold: {threshold}, aff_thresholds: {list(case.aff_thresholds)}}}\n"
        f"pool: {{rule: {rule}}}\napply: {{mips: 0}}\n"
    )
    command(*MAGNETON, "run", config)
    volume = open_volume(f"file://{root}/segmentation", 0)
    return float(evaluate(volume.read(volume.info.box)[0], truth).vi)
