"""The exact method: block step against bare waterz, the whole pipeline, what stays open, how good it is.

Volumes are the sample, pub128 continued by reflection, and uniform noise. Ratios are of CPU seconds
in one run; start-up of a process (measured with a volume of 32^3) is reported apart. Bare waterz gets
the float32 affinities of each block in memory, in a child forked for it (``benchmarks.segment``).
``--full`` adds the joins' levels on 512^3 in blocks of 64, and threshold curves in finer steps.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Row, Usage, forked, magneton, row
from benchmarks.segment import bare_waterz
from benchmarks.volumes import VOXEL_SIZE_NM, real, reflected, write_config
from magneton_tasks.geometry import Box, Vec3, vec3
from magneton_tasks.paths import JOINS
from magneton_tasks.plan import Plan

UInt8 = NDArray[np.uint8]

EDGE = 256
#: per voxel at 256^3: times waterz's speed, bytes above the input at the peak
LEAST_SPEED_UP, MOST_BYTES = 4.0, 14.0
LEAST_NOISE_MVOXEL = 0.8
MOST_PIPELINE_US, MOST_READ = 0.25, 1.15
MOST_VI = {"pub128": 0.57, "real_gala_train": 1.06}
BEST_THRESHOLD = {"pub128": 0.3, "real_gala_train": 0.15}
_DECODED = re.compile(r"decoded ([\d,]+) bytes of chunks for ([\d,]+) needed")


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        return [
            *_block_steps(root),
            *_pipeline(root, full),
            *_quality(root, full),
        ]


# ------------------------------------------------------------------ volumes
def sample(shape: Vec3) -> UInt8:
    from magneton_tasks.sample.volume import make_sample

    affinity: UInt8 = make_sample(shape, 0).affinity
    return affinity


def tiled(shape: Vec3) -> UInt8 | None:
    """pub128 continued by reflection; None where it isn't there."""
    found = real("pub128")
    return None if found is None else reflected(found["affs"], shape)


def noise(shape: Vec3) -> UInt8:
    return np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)


def _write(directory: Path, make: Callable[[Vec3], UInt8 | None], shape: Vec3) -> bool:
    """Write a volume; whether there is one. In a child: its memory isn't that of what is measured."""

    def work() -> bool:
        from magneton_tasks.stores.precomputed import write_volume

        affinity = make(shape)
        if affinity is None:
            return False
        write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)
        np.save(directory / "affinity.npy", affinity)
        return True

    directory.mkdir(parents=True)
    return bool(forked(work)[0])


def _config(directory: Path, block: int, threshold: float, **sections: Mapping[str, Any]) -> Path:
    return write_config(directory, {
        "method": "exact", "block": {"size": [block] * 3}, "segment": {"threshold": threshold},
        "local": {"workers": 1}, **sections,
    })  # fmt: skip


def _planned(config: Path, *options: str) -> tuple[Path, Plan]:
    printed = magneton("plan", config, "--run-id", "bench", *options).stdout
    attempt = Path(json.loads(printed.splitlines()[-1])["attempt"])
    return attempt, Plan.from_json((attempt / "plan.json").read_text())


def _records(directory: Path, stage: str) -> list[dict[str, Any]]:
    pattern = f"work/{stage}/records/*.jsonl"
    lines = [json.loads(li) for p in directory.glob(pattern) for li in p.open()]
    return [r for r in lines if r["state"] == "done"]


# ------------------------------------------------------------------ the block step
def _block_steps(root: Path) -> list[Row]:
    """One block of 256^3 with neighbours on all sides but the low ones."""
    rows = []
    start = _segmented(root / "start", sample, 32)[0]
    assert start is not None
    for name, make in (("sample", sample), ("pub128 tiled", tiled), ("noise", noise)):
        directory = root / f"block {name}"
        used, plan = _segmented(directory, make, EDGE)
        if used is None or plan is None:
            rows.append(row(f"{name}: no shared data here, left out", "-", ""))
            continue
        (record,) = _records(directory, "segment-*")
        voxels = EDGE**3
        step_s = used.cpu_s - start.cpu_s
        above = (record["peak_bytes"] - _base_peak(root / "start")) / voxels - 3
        title = f"block step of {EDGE}^3, {name}"
        if name == "noise":
            rows.append(row(f"{title}", voxels / step_s / 1e6, "Mvoxel/CPU s", least=LEAST_NOISE_MVOXEL))
        else:
            waterz_s = bare_waterz(directory, [Box.of_shape((EDGE,) * 3)], "mean")[0].cpu_s
            rows += [
                row(f"{title}, reading and writing: speed over bare waterz (mean)", waterz_s / step_s, "x", least=LEAST_SPEED_UP),
                row("  its speed", voxels / step_s / 1e6, "Mvoxel/CPU s"),
                row("  bare waterz", voxels / waterz_s / 1e6, "Mvoxel/CPU s"),
            ]  # fmt: skip
        rows += [
            row("  peak above the input", above, "bytes/voxel", most=None if name == "noise" else MOST_BYTES),
            row("  peak / plan's bound", record["peak_bytes"] / plan.memory["segment"].bound, "x", most=1.0),
            row("  plan's expected peak / peak", plan.memory["segment"].expected / record["peak_bytes"], "x"),
        ]  # fmt: skip
    return [*rows, row("  start-up of segment", start.cpu_s, "CPU s")]


def _segmented(
    directory: Path, make: Callable[[Vec3], UInt8 | None], edge: int
) -> tuple[Usage | None, Plan | None]:
    """Usage of a process that segments the block at the corner of a volume of one plane more."""
    if not _write(directory, make, vec3([edge] * 3)):
        return None, None
    attempt, plan = _planned(_config(directory, edge, 0.5), "--stages", "segment")
    return magneton("segment", "--run", attempt), plan


def _base_peak(directory: Path) -> int:
    """What a child of a worker has resident before any work, about."""
    return min(int(r["peak_bytes"]) for r in _records(directory, "segment-*"))


# ------------------------------------------------------------------ the whole pipeline
def _pipeline(root: Path, full: bool) -> list[Row]:
    """512^3 of the sample (256^3 repeated by reflection) in blocks of 256, stages in one process."""
    edge = 512

    def large(shape: Vec3) -> UInt8:
        return reflected(sample((256, 256, 256)), shape)

    directory = root / "pipeline"
    _write(directory, large, vec3([edge] * 3))
    rows = []
    for block in (256, 128, *((64,) if full else ())):
        config = _config(
            directory, block, 0.5,
            paths={"work": f"{directory}/work{block}", "output": f"{directory}/out{block}"},
        )  # fmt: skip
        _planned(config, "--stages", "segment")  # the samples are there when the clock starts
        (seconds, joins, printed), _ = forked(lambda c=config: _stages_in_one_process(c))  # type: ignore[misc]
        voxels = edge**3
        decoded, needed = _read_bytes(printed)
        demanded = MOST_PIPELINE_US if block == 256 else None
        rows += [
            row(f"whole pipeline, {edge}^3 in blocks of {block}", sum(seconds.values()) / voxels * 1e6, "CPU us/voxel", most=demanded),
            *(row(f"  {s}", t / voxels * 1e6, "CPU us/voxel") for s, t in seconds.items()),
            row("  decoded / the volume's bytes", decoded / (3 * voxels), "x", most=MOST_READ if block == 256 else None),
            row("  decoded / needed", decoded / max(needed, 1), "x", most=1.3),
            *_residual_rows(directory / f"work{block}", block, edge, joins),
        ]  # fmt: skip
    return rows


def _stages_in_one_process(config: Path) -> tuple[dict[str, float], dict[str, float], str]:
    """CPU seconds of each stage (children included), CPU s an edge of each join level, what was printed."""
    import os

    from magneton_tasks.cli.stages import run_mapped, run_single
    from magneton_tasks.stages import plan as planning

    def spent() -> float:
        t = os.times()
        return t.user + t.system + t.children_user + t.children_system

    printed, seconds, per_edge = io.StringIO(), {}, {}
    with contextlib.redirect_stdout(printed):
        plan, paths, _ = planning.run(planning.Request(config, "whole", {}))
        for stage in [*(s for s in plan.work if plan.work[s].batches and s != "pool"), "pool", "verify"]:
            seconds[stage] = 0.0
        order = [s for s in ("segment", "count", *JOINS, "pool", "apply", "downsample", "verify") if s in seconds]
        for stage in order:
            began = spent()
            codes = (
                [run_single(stage, paths.root)]
                if stage in ("pool", "verify")
                else [run_mapped(stage, paths.root, k, None) for k in range(plan.work[stage].batches)]
            )
            if any(codes):
                raise RuntimeError(f"{stage} ended with {codes}: {printed.getvalue()[-3000:]}")
            seconds[stage] = spent() - began
        run_single("release", paths.root)
    return {s: seconds[s] for s in order}, per_edge, printed.getvalue()


def _read_bytes(printed: str) -> tuple[int, int]:
    found = [tuple(int(n.replace(",", "")) for n in m) for m in _DECODED.findall(printed)]
    return sum(f[0] for f in found), sum(f[1] for f in found)


def _residual_rows(work: Path, block: int, edge: int, joins: Mapping[str, float]) -> list[Row]:
    """What stays open per voxel of inner face, and bytes an edge on disk."""
    n = edge // block
    faces = 2 * 3 * (n - 1) * edge * edge  # both sides of each inner face
    if not faces:
        return []
    blocks = _records(work.parent, f"{work.name}/segment-*".removeprefix("work/"))
    lines = [json.loads(li) for p in work.glob("segment-*/records/*.jsonl") for li in p.open()]
    blocks = [r for r in lines if r["state"] == "done"]
    edges = sum(r["info"]["rows"]["edges"] for r in blocks)
    regions = sum(r["info"]["rows"]["regions"] for r in blocks)
    stored = sum(r["info"]["files"]["residual"][0] for r in blocks)
    rows = [
        row(f"  open regions at blocks of {block}", regions / faces, "/face voxel"),
        row("  open edges", edges / faces, "/face voxel", most=0.75),
        row("  their files, faces included", stored / max(edges, 1), "bytes/edge"),
    ]
    for level in JOINS:
        lines = [json.loads(li) for p in work.glob(f"join-*/level-{level[-1]}/records/*.jsonl") for li in p.open()]
        done = [r for r in lines if r["state"] == "done"]
        if done:
            open_edges = sum(r["info"]["rows"]["edges"] for r in done)
            rows.append(row(f"  join level {level[-1]}: edges left open", open_edges, "edges", cpu_s=sum(r["cpu_s"] for r in done)))
    return rows


# ------------------------------------------------------------------ quality
def _quality(root: Path, full: bool) -> list[Row]:
    """VI and ARAND at the default settings: threshold curves of one block, and the best against overlap."""
    rows = []
    for name, most in MOST_VI.items():
        arrays = real(name)
        if arrays is None:
            rows.append(row(f"{name}: no shared data here, left out", "-", ""))
            continue
        steps = np.arange(0.05, 1.0, 0.025 if full else 0.05)
        curve = forked(lambda a=arrays, s=steps: _curve(a, s))[0]  # type: ignore[misc]
        best = min(curve, key=lambda c: c["vi"])
        rows.append(row(f"{name}: VI of the exact method at its best threshold", best["vi"], "bits", most=most, curve=curve, **{k: v for k, v in best.items() if k != "vi"}))
        rows += [row(f"  threshold {c['threshold']:.3g}", c["vi"], "VI, bits", **{k: v for k, v in c.items() if k != "vi"}) for c in curve]
    return rows


def _curve(arrays: Mapping[str, Any], thresholds: NDArray[np.float64]) -> list[dict[str, float]]:
    from magneton_tasks.kernels.evaluate import evaluate
    from magneton_tasks.kernels.exact_settings import ExactSettings
    from magneton_tasks.kernels.exact_sweep import exact_segmentations

    descending = sorted((round(float(t), 4) for t in thresholds), reverse=True)
    affinity = np.ascontiguousarray(arrays["affs"])
    found = []
    for t, (labels, _) in zip(
        descending, exact_segmentations(affinity, ExactSettings(0.5), descending), strict=True
    ):
        s = evaluate(labels, arrays["labels"])
        found.append({"threshold": t, "vi": s.vi, "vi_split": s.vi_split, "vi_merge": s.vi_merge, "arand": s.arand})
    return found[::-1]
