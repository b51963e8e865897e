"""The whole pipeline of the exact method, stages in one process, and what stays open between blocks.

512^3 of the sample (256^3 continued by reflection) in blocks of 256 and 128; ``--full`` adds 64.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.exact import config_of, large_sample, planned, write
from benchmarks.in_process import done, stages_in_one_process
from benchmarks.measure import Row, forked, magneton, row
from magneton_tasks.base.geometry import vec3
from magneton_tasks.plan.stage_table import ROUND_SLOTS

MOST_PIPELINE_US, MOST_READ = 0.25, 1.15
_DECODED = re.compile(r"decoded ([\d,]+) bytes of chunks for ([\d,]+) needed")


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        return _rows(Path(directory), full)


def _rows(root: Path, full: bool) -> list[Row]:
    edge = 512
    directory = root / "pipeline"
    write(directory, large_sample, vec3([edge] * 3))
    rows = []
    for block in (256, 128, *((64,) if full else ())):
        config = config_of(
            directory,
            block,
            0.5,
            paths={"work": f"{directory}/work{block}", "output": f"{directory}/out{block}"},
        )
        attempt, _ = planned(config)  # the samples are there when the clock starts
        magneton("release", "--run", attempt)
        (seconds, printed), _ = forked(lambda c=config: stages_in_one_process(c))  # type: ignore[misc]
        voxels = edge**3
        decoded, needed = _read_bytes(printed)
        demanded = MOST_PIPELINE_US if block == 256 else None
        rows += [
            row(
                f"whole pipeline, {edge}^3 in blocks of {block}",
                sum(seconds.values()) / voxels * 1e6,
                "CPU us/voxel",
                most=demanded,
            ),
            *(row(f"  {s}", t / voxels * 1e6, "CPU us/voxel") for s, t in seconds.items()),
            row(
                "  decoded / the volume's bytes",
                decoded / (3 * voxels),
                "x",
                most=MOST_READ if block == 256 else None,
            ),
            row("  decoded / needed", decoded / max(needed, 1), "x", most=1.3),
            *_residual_rows(directory / f"work{block}", block, edge),
        ]
    return rows


def _read_bytes(printed: str) -> tuple[int, int]:
    found = [tuple(int(n.replace(",", "")) for n in m) for m in _DECODED.findall(printed)]
    return sum(f[0] for f in found), sum(f[1] for f in found)


def _residual_rows(work: Path, block: int, edge: int) -> list[Row]:
    """What stays open per voxel of inner face, and what the rounds make of it."""
    faces = 2 * 3 * (edge // block - 1) * edge * edge  # both sides of each inner face
    blocks = done(work, "segment-*")
    edges = sum(r["info"]["rows"]["edges"] for r in blocks)
    stored = sum(r["info"]["files"]["residual"][0] for r in blocks)
    rows = [
        row("  open regions", sum(r["info"]["rows"]["regions"] for r in blocks) / faces, "/face voxel"),
        row("  open edges", edges / faces, "/face voxel", most=0.75),
        row("  their files, faces included", stored / max(edges, 1), "bytes/edge"),
    ]  # fmt: skip
    for number in range(ROUND_SLOTS):
        found = done(work, f"rounds-*/{number}")
        if found:
            cpu_s = sum(r["cpu_s"] or 0.0 for r in found)
            regions = sum(r["info"]["n"] for r in found)
            told = f"  round {number}, reading and writing"
            rows.append(row(told, cpu_s / max(regions, 1) * 1e6, "CPU us/region"))
    return rows
