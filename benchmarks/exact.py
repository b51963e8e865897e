"""The exact method: block step against bare waterz, and how good it is.

Volumes are the sample, pub128 continued by reflection, and uniform noise. Ratios are of CPU seconds
in one run; start-up of a process (measured with a volume of 32^3) is reported apart. Bare waterz gets
the float32 affinities of each block in memory, in a child forked for it (``benchmarks.segment``).
``--full`` takes threshold curves in finer steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.in_process import done, stages_in_one_process
from benchmarks.measure import Row, Usage, forked, magneton, row
from benchmarks.segment import bare_waterz
from benchmarks.volumes import VOXEL_SIZE_NM, real, reflected, write_config
from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.plan.plan import Plan

UInt8 = NDArray[np.uint8]

EDGE = 256
#: per voxel at 256^3: times waterz's speed, bytes above the input at the peak
LEAST_SPEED_UP, MOST_BYTES = 4.0, 14.0
LEAST_NOISE_MVOXEL = 0.8
MOST_VI = {"pub128": 0.57, "real_gala_train": 1.06}
BEST_THRESHOLD = {"pub128": 0.3, "real_gala_train": 0.15}


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        return [
            *_block_steps(root),
            *_quality(full),
            *_comparison(root),
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


def write(directory: Path, make: Callable[[Vec3], UInt8 | None], shape: Vec3) -> bool:
    """Write a volume; whether there is one. In a child: its memory isn't that of what is measured."""

    def work() -> bool:
        from magneton_tasks.formats.precomputed.write import write_volume

        affinity = make(shape)
        if affinity is None:
            return False
        write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)
        np.save(directory / "affinity.npy", affinity)
        return True

    directory.mkdir(parents=True)
    return bool(forked(work)[0])


def config_of(directory: Path, block: int, threshold: float, **sections: Mapping[str, Any]) -> Path:
    return write_config(
        directory,
        {
            "method": "exact",
            "block": {"size": [block] * 3},
            "segment": {"threshold": threshold},
            "local": {"workers": 1},
            **sections,
        },
    )


def planned(config: Path, *options: str) -> tuple[Path, Plan]:
    printed = magneton("plan", config, "--run-id", "bench", *options).stdout
    attempt = Path(json.loads(printed.splitlines()[-1])["attempt"])
    return attempt, Plan.from_json((attempt / "plan.json").read_text())


# ------------------------------------------------------------------ the block step
def _block_steps(root: Path) -> list[Row]:
    """Segment, with reading and writing: 2 x 2 x 2 blocks of 256^3 (noise: two), against bare waterz."""
    start, _ = _segmented(root / "start", sample, (32, 64, 64))
    assert start is not None
    base_bytes = min(r["peak_bytes"] for r in done(root / "start" / "work", "segment-*"))
    rows = [row("start-up of segment", start.cpu_s, "CPU s", peak_bytes=base_bytes)]
    for name, make in (("sample", large_sample), ("pub128 tiled", tiled), ("noise", noise)):
        directory = root / name.replace(" ", "-")
        shape = (EDGE, EDGE, 2 * EDGE) if name == "noise" else (2 * EDGE,) * 3
        used, plan = _segmented(directory, make, shape)
        if used is None or plan is None:
            rows.append(row(f"{name}: no shared data here, left out", "-", ""))
            continue
        grid, records = plan.geometry.grid, done(directory / "work", "segment-*")
        voxels, step_s = grid.box.voxels, used.cpu_s - start.cpu_s
        peak = max(r["peak_bytes"] for r in records)
        title = f"{len(grid)} block steps of {EDGE}^3, {name}, reading and writing"
        if name == "noise":
            rows.append(row(title, voxels / step_s / 1e6, "Mvoxel/CPU s", least=LEAST_NOISE_MVOXEL))
        else:
            some = [grid.core(0), grid.core(len(grid) - 1)]
            waterz_s = sum(u.cpu_s for u in bare_waterz(directory, some, "mean")) * len(grid) / 2
            rows += [
                row(
                    f"{title}: speed over bare waterz (mean)",
                    waterz_s / step_s,
                    "x",
                    least=LEAST_SPEED_UP,
                ),
                row("  speed", voxels / step_s / 1e6, "Mvoxel/CPU s"),
                row("  bare waterz", voxels / waterz_s / 1e6, "Mvoxel/CPU s"),
            ]
        most = None if name == "noise" else MOST_BYTES
        memory = plan.memory["segment"]
        rows += [
            row(
                "  peak above the input and a process that has done nothing",
                (peak - base_bytes) / EDGE**3 - 3,
                "bytes/voxel",
                most=most,
            ),
            row("  peak / plan's bound", peak / memory.bound, "x", most=1.0, peak_bytes=peak),
            row("  plan's expected peak / peak", memory.expected / peak, "x"),
        ]
    return rows


def large_sample(shape: Vec3) -> UInt8:
    """The sample of 256^3 continued by reflection."""
    return reflected(sample((EDGE,) * 3), shape)


def _segmented(
    directory: Path, make: Callable[[Vec3], UInt8 | None], shape: Vec3
) -> tuple[Usage | None, Plan | None]:
    """Usage of a process that segments a volume's blocks, in one batch."""
    if not write(directory, make, shape):
        return None, None
    attempt, plan = planned(config_of(directory, EDGE, 0.5), "--stages", "segment")
    assert plan.work["segment"].batches == 1, plan.work["segment"]
    return magneton("segment", "--run", attempt), plan


# ------------------------------------------------------------------ quality
def _quality(full: bool) -> list[Row]:
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
        rows.append(
            row(
                f"{name}: VI of the exact method at its best threshold",
                best["vi"],
                "bits",
                most=most,
                curve=curve,
                **{k: v for k, v in best.items() if k != "vi"},
            )
        )
        rows += [
            row(
                f"  threshold {c['threshold']:.3g}",
                c["vi"],
                "VI, bits",
                **{k: v for k, v in c.items() if k != "vi"},
            )
            for c in curve
        ]
    return rows


def _curve(arrays: Mapping[str, Any], thresholds: NDArray[np.float64]) -> list[dict[str, float]]:
    from magneton_tasks.kernels.evaluate import evaluate
    from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations

    descending = sorted((round(float(t), 4) for t in thresholds), reverse=True)
    affinity = np.ascontiguousarray(arrays["affs"])
    found = []
    for t, (labels, _) in zip(
        descending, exact_segmentations(affinity, ExactSettings(0.5), descending), strict=True
    ):
        s = evaluate(labels, arrays["labels"])
        found.append(
            {
                "threshold": t,
                "vi": s.vi,
                "vi_split": s.vi_split,
                "vi_merge": s.vi_merge,
                "arand": s.arand,
            }
        )
    return found[::-1]


# ------------------------------------------------------------------ against overlapping blocks
def _comparison(root: Path) -> list[Row]:
    """Overlap against exact on the same volumes, at blocks of 64, 128 and one; threshold tuned for each.

    Both are scored on the block size that fits all; overlap has halos of 32 between blocks.
    """
    rows = []
    for name, (affinity, truth, thresholds) in _compared_volumes().items():
        directory = root / f"compared-{name}"
        directory.mkdir()
        forked(lambda d=directory, a=affinity: _write_array(d, a))  # type: ignore[misc]
        for method in ("overlap", "exact"):
            for block in (64, 128, None):
                found, _ = forked(
                    lambda m=method, b=block: _compare(directory, m, b, thresholds[m], truth)  # type: ignore[misc] # noqa: B023
                )
                title = (
                    f"{name}, {method}, {'one block' if block is None else f'blocks of {block}'}"
                )
                rows.append(
                    row(title, found.pop("vi"), "VI, bits", threshold=thresholds[method], **found)
                )
    return rows


def _compared_volumes() -> dict[str, tuple[UInt8, NDArray[Any], dict[str, float]]]:
    from magneton_tasks.sample.volume import make_sample

    found = {}
    made = make_sample((128, 256, 256), 0)
    found["sample"] = (made.affinity, made.truth, {"overlap": 0.7, "exact": 0.55})
    for name, overlap, exact in (("pub128", 0.3, 0.25), ("real_gala_train", 0.15, 0.15)):
        arrays = real(name)
        if arrays is not None:
            found[name] = (arrays["affs"], arrays["labels"], {"overlap": overlap, "exact": exact})
    return found


def _write_array(directory: Path, affinity: UInt8) -> None:
    from magneton_tasks.formats.precomputed.write import write_volume

    write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)


def _compare(
    directory: Path, method: str, block: int | None, threshold: float, truth: NDArray[Any]
) -> dict[str, Any]:
    """Scores, CPU, peak memory, files and bytes under the work directory of one way."""
    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.kernels.evaluate import evaluate

    name = f"{method}-{block}"
    size = [min(block or s, s) for s in truth.shape]
    sections: dict[str, Any] = {
        "paths": {"work": f"{directory}/work-{name}", "output": f"{directory}/out-{name}"},
        "method": method, "block": {"size": size}, "segment": {"threshold": threshold},
        "apply": {"mips": 0}, "local": {"workers": 1},
    }  # fmt: skip
    if method == "overlap":
        # the halo comes on top of the core, which is as large as a block of the exact method
        halo = [32 if block and s > block else 0 for s in truth.shape]
        sections["block"] = {
            "size": [b + h for b, h in zip(size, halo, strict=True)],
            "overlap": halo,
        }
        sections["segment"] |= {"merge_function": "mean"}
    config = write_config(directory, sections)
    seconds, _ = stages_in_one_process(config)
    volume = open_volume(f"file://{directory}/out-{name}")
    scores = evaluate(volume.read(volume.info.box)[0], truth)
    work = directory / f"work-{name}"
    records = [
        r
        for stage in ("segment", "rounds")
        for r in done(work, f"{stage}-*") + done(work, f"{stage}-*/*")
    ]
    stored = [p for p in work.glob("*-*/**/*") if p.is_file() and "records" not in p.parts]
    return {
        "vi": scores.vi,
        "arand": scores.arand,
        "cpu_us_per_voxel": sum(seconds.values()) / truth.size * 1e6,
        "peak_bytes": max(r["peak_bytes"] for r in records),
        "files": len(stored),
        "stored_bytes": sum(p.stat().st_size for p in stored),
    }
