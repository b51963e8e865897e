"""Whole runs of the exact method, against an earlier release in turns (see `benchmarks.releases`).

The volume is 512^3 of real affinities (pub128 mirrored, else the sample), in blocks of 128 and 256, with
three mips and one worker. Without an earlier release only this one's figures are told. A further
threshold is a second run of the same config. ``--full`` also takes blocks of 64.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Row, forked, row
from benchmarks.releases import (
    BETWEEN,
    EARLIER,
    Ran,
    Release,
    earlier_release,
    fresh,
    least,
    ran,
    this_release,
)
from benchmarks.volumes import VOXEL_SIZE_NM, mirrored, source, write_config
from magneton_tasks.kernels.exact.rounds.supervoxels import SupervoxelRows
from magneton_tasks.kernels.exact.rounds.tables import Names
from magneton_tasks.plan.plan import Plan
from magneton_tasks.stages.round import NAMES
from magneton_tasks.stages.segment_exact import SUPERVOXELS
from magneton_tasks.work import group_work, slice_pages, slices
from magneton_tasks.work.attempt import Attempt

EDGE = 512
BLOCKS = (256, 128)
TURNS = 2
THRESHOLD, FURTHER = 0.3, 0.4
#: At most, over the earlier release's.
MOST = {"segment": 0.90, BETWEEN: 0.65, "apply": 0.65}
MOST_WHOLE, MOST_FURTHER = 0.62, 1.15
MOST_LABELS, MOST_MERGES = 1.6, 0.02
LEAST_OF_BOUND = 0.5
#: What files with these tables are called.
FILES: dict[type[Any], str] = {SupervoxelRows: SUPERVOXELS, Names: NAMES}
#: What a cut needs beside regions and their sizes.
MERGES: dict[type[Any], tuple[str, ...]] = {
    SupervoxelRows: ("up", "score"),
    Names: ("up", "score", "own_low"),
}


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    rows: list[Row] = []
    earlier, own = earlier_release(), this_release()
    for release in (own, *([earlier] if earlier else [])):
        release.magneton("warm")
    with TemporaryDirectory() as directory:
        root = Path(directory)
        forked(lambda: _write(root))
        for block in (*BLOCKS, *((64,) if full else ())):
            configs = [_config(root, name, block) for name in ("own", "earlier")]
            turns = [
                (fresh(own, configs[0]), fresh(earlier, configs[1]) if earlier else None)
                for _ in range(TURNS)
            ]
            now = least(turn[0] for turn in turns)
            before = least(r for _, r in turns if r is not None) if earlier else None
            rows += _run_rows(block, now, before)
            rows += _memory_rows(now.attempt)
            rows += _stored_rows(now.attempt, before.attempt if before else None)
            rows += _further_rows(own, configs[0], now)
    if earlier is None:
        rows.append(row(f"no {EARLIER}: its runs are left out", "-", ""))
    return rows


def _write(root: Path) -> None:
    """The volume; in a child, so that it isn't this process's memory."""
    from magneton_tasks.formats.precomputed.write import write_volume

    affinity = mirrored(source(), (EDGE,) * 3)
    write_volume(f"file://{root}/affinity", affinity, VOXEL_SIZE_NM)


def _config(root: Path, name: str, block: int) -> Path:
    directory = root / f"{name}-{block}"
    directory.mkdir()
    return write_config(
        directory,
        {
            "method": "exact",
            "paths": {"input": f"file://{root}/affinity"},
            "block": {"size": [block] * 3},
            "segment": {"threshold": THRESHOLD},
            "local": {"workers": 1},
        },
    )


def _per_voxel(cpu_s: float) -> float:
    return cpu_s / EDGE**3 * 1e6


# ------------------------------------------------------------------ CPU
def _run_rows(block: int, now: Ran, before: Ran | None) -> list[Row]:
    """Stages beside the start-up of their processes; and all processes together."""
    title = f"{EDGE}^3 in blocks of {block}"
    rows = [row(f"{title}: whole run, all processes", _per_voxel(now.cpu_s), "CPU us/voxel")]
    if before is not None:
        most = MOST_WHOLE if block == max(BLOCKS) else None
        rows.append(
            row("  whole run / the earlier release's", now.cpu_s / before.cpu_s, "x", most=most)
        )
    for what in ("segment", BETWEEN, "apply"):
        rows.append(row(f"  {what}, beside start-up", _per_voxel(now.part(what)), "CPU us/voxel"))
        if before is not None:
            of = now.part(what) / before.part(what)
            rows.append(row(f"    {what} / the earlier release's", of, "x", most=MOST[what]))
    for stage, cpu_s in now.work_s.items():
        rows.append(row(f"    {stage}, {now.tasks[stage]} processes", cpu_s, "CPU s"))
    rest = now.cpu_s - sum(now.work_s.values())
    rows.append(row("  start-ups, plan and verify", rest, "CPU s"))
    if before is not None:
        rest = before.cpu_s - sum(before.work_s.values())
        rows.append(row("    the earlier release's", rest, "CPU s"))
    return rows


def _further_rows(own: Release, config: Path, first: Ran) -> list[Row]:
    """Another threshold, from the same blocks."""
    second = ran(own, config, "--set", f"segment.threshold={FURTHER}")
    again = sorted(set(second.tasks) - {"pool", "cut", "apply", "downsample"})
    stages = ("pool", "cut", "apply")
    of = sum(second.work_s[s] for s in stages) / sum(first.work_s[s] for s in stages)
    return [
        row("  a further threshold: pool, cut and apply / the first's", of, "x", most=MOST_FURTHER),
        row("    its whole run / the first's", second.cpu_s / first.cpu_s, "x"),
        row("    stages before pool that run again", len(again), "", most=0),
    ]


# ------------------------------------------------------------------ memory and disk
def _memory_rows(attempt: Path) -> list[Row]:
    """Peaks of tasks that follow counted rows, against their bounds."""
    opened = Attempt.open(attempt)
    found = []
    for stage, peak in _peaks(attempt).items():
        memory = group_work.memory_of(opened.paths, opened.plan, stage)
        assert memory is not None, stage
        of = peak / memory.bound
        limits: dict[str, Any] = {"most": 1.0}
        if stage.startswith("round") or stage == "cut":
            limits["least"] = LEAST_OF_BOUND
        found.append(row(f"  peak of {stage} / its bound", of, "x", **limits, peak_bytes=peak))
    return found


def _peaks(attempt: Path) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for path in (attempt / "results").glob("*-*.json"):
        result = json.loads(path.read_text())
        stage = result["stage"]
        peaks[stage] = max(peaks.get(stage, 0), result["peak_bytes"])
    return peaks


def _stored_rows(attempt: Path, earlier: Path | None) -> list[Row]:
    """Labels, merges and files that a run leaves."""
    plan = Plan.from_json((attempt / "plan.json").read_text())
    work = attempt.parents[2]
    voxels, blocks = plan.geometry.box.voxels, len(plan.geometry.grid)
    labels = _labels_bytes(work)
    rows = [row("  labels on disk", labels / voxels, "bytes/voxel")]
    if earlier is not None:
        of = labels / _labels_bytes(earlier.parents[2])
        rows.append(row("    / the earlier release's", of, "x", most=MOST_LABELS))
    merges = sum(_merge_bytes(p) for p in work.glob("*/**/*.slices"))
    files = sum(p.is_file() for p in work.rglob("*"))
    return [
        *rows,
        row("  merge records, as stored", merges / voxels, "bytes/voxel", most=MOST_MERGES),
        row("  files under work/, a block", files / blocks, "", files=files),
    ]


def _labels_bytes(work: Path) -> int:
    places = work.glob("segment-*/labels.zarr/**/*")
    return sum(p.stat().st_size for p in places if p.is_file())


def _merge_bytes(path: Path) -> int:
    """Packed bytes of the columns that say what merged into what, at which score."""
    found = 0
    with slices.opened(path, None, 0.0) as file:
        for kind, columns in MERGES.items():
            if path.name.startswith(FILES[kind]):
                table = file.read(kind)
                found += len(slice_pages.pack([getattr(table, c) for c in columns]))
    return found
