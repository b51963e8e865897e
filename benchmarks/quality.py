"""How well block-wise segmentation agrees with the truth, against single-shot with the same settings.

Both run through the stages, on the real volumes of the shared data: single-shot is one block. The
demand reads ``threshold .7`` (``.85``) as the config does, an affinity. The scores in the data's own
README were made with waterz's threshold, which is 1 - affinity; so that reading is measured too.
Left out where the shared data isn't there.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Row, forked, row
from benchmarks.volumes import VOXEL_SIZE_NM, real, write_config
from magneton_tasks.base.geometry import Vec3
from magneton_tasks.stages.planning.request import PlanRequest

RULES = ("mutual", "both", "iou", "any")


@dataclass(frozen=True, slots=True)
class Case:
    """A volume, how it is cut, and by how much the VI may grow by that."""

    name: str
    block: Vec3
    overlap: Vec3
    aff_thresholds: tuple[float, float]
    threshold: float
    most: float


CASES = (
    Case("pub128", (96, 96, 96), (32, 32, 32), (0.05, 0.99), 0.7, 0.05),
    Case("real_gala_train", (50, 96, 96), (0, 32, 32), (0.01, 0.99), 0.85, 0.25),
)


def run(*, full: bool = False) -> list[Row]:
    """Measure all rules on both volumes, at both readings of the threshold."""
    rows = []
    for case in CASES:
        arrays = real(case.name)
        if arrays is None:
            rows.append(row(f"{case.name}: no shared data here, left out", "-", ""))
            continue
        for threshold, reading in (
            (case.threshold, "affinity"),
            (round(1 - case.threshold, 4), f"waterz's {case.threshold:g}"),
        ):
            rows += _scores(case, arrays, threshold, reading)
    return rows


def _scores(case: Case, arrays: dict[str, Any], threshold: float, reading: str) -> list[Row]:
    with TemporaryDirectory() as directory:
        found, _ = forked(lambda: _segmented(Path(directory), case, arrays, threshold))
    single = found.pop("single")
    title = f"{case.name}, threshold {threshold:g} ({reading})"
    rows = [row(f"{title}: single-shot", single["vi"], "VI, bits", **single)]
    for rule, scores in found.items():
        over = scores["vi"] - single["vi"]
        demanded = case.most if rule == "mutual" else None
        rows.append(row(f"  rule {rule}, above single-shot", over, "bits", most=demanded, **scores))
    return rows


def _segmented(
    directory: Path, case: Case, arrays: dict[str, Any], threshold: float
) -> dict[str, Any]:
    """Scores of single-shot and of each rule; the blocks are segmented once for all rules."""
    from magneton_tasks.formats.precomputed.write import write_volume
    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.kernels.evaluate import ContingencyTable

    write_volume(f"file://{directory}/affinity", arrays["affs"], VOXEL_SIZE_NM)
    truth = arrays["labels"]
    scores = {}
    for name in ("single", *RULES):
        geometry = (
            {"size": list(truth.shape), "overlap": [0, 0, 0]}
            if name == "single"
            else {"size": list(case.block), "overlap": list(case.overlap)}
        )
        config = write_config(
            directory,
            {
                "paths": {"output": f"file://{directory}/{name}"},
                "block": geometry,
                "segment": {
                    "merge_function": "mean",
                    "threshold": threshold,
                    "aff_thresholds": list(case.aff_thresholds),
                },
                "pool": {"rule": "mutual" if name == "single" else name},
                "apply": {"mips": 0},
            },
        )
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            _run_stages(config, name)
        table = ContingencyTable()
        volume = open_volume(f"file://{directory}/{name}")
        table.add(volume.read(volume.info.box)[0], truth)
        found = table.scores()
        scores[name] = {
            "vi": found.vi, "vi_split": found.vi_split, "vi_merge": found.vi_merge, "arand": found.arand
        }  # fmt: skip
    return scores


def _run_stages(config: Path, run: str) -> None:
    """All stages in this process."""
    from magneton_tasks.cli.run.stages import run_mapped, run_single
    from magneton_tasks.stages.planning import draft as planning

    plan, paths, _ = planning.run(PlanRequest(config, run, {}))
    for stage in ("segment", "count", "pool", "apply", "verify", "release"):
        if stage in ("pool", "verify", "release"):
            codes = [run_single(stage, paths.root)]
        else:
            codes = [
                run_mapped(stage, paths.root, k, None) for k in range(plan.work[stage].batches)
            ]
        if any(codes):
            result = json.dumps([p.read_text() for p in (paths.root / "results").iterdir()])
            raise RuntimeError(f"{stage} ended with {codes}: {result}")
