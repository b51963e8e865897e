"""Count, pool and apply on blocks of 256^3: CPU time a voxel of the volume, by whole processes.

The volume is 3 x 3 x 3 blocks: real affinities, continued with a period of one core. So every block
reads the same voxels, one is segmented, and the labels of all are known without segmenting them;
yet where two blocks meet their labels differ as they do in real volumes, for the two sides were
segmented with different surroundings.

Apply is compared with cloud-volume reading the finished layer, all mips of it, and writing it to
another place with the same encoding and compression.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measure import Row, command, forked, magneton, row
from benchmarks.volumes import (
    Planned,
    fabricate_labels,
    reflected,
    source,
    write_config,
    zarr_info,
)
from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.methods import SegmentSettings
from magneton_tasks.plan.plan import Plan

SIZE, OVERLAP, BLOCKS = 256, 32, 3
STAGES = ("count", "pool", "apply")
MOST_US_PER_VOXEL = 0.20
MOST_OF_COPY = 1.5


def run(*, full: bool = False) -> list[Row]:
    """Measure; ``full`` takes 4 x 4 x 4 blocks."""
    with TemporaryDirectory() as directory:
        small, _ = measure(Path(directory) / "small", 32, 8, 2)
        blocks = BLOCKS + full
        large, plan = measure(Path(directory) / "large", SIZE, OVERLAP, blocks)
        stored = _stored(Path(directory) / "large", plan)
        copies = {name: _copy(Path(directory) / name) for name in ("small", "large")}
    voxels = plan.geometry.box.voxels
    us = {s: large[s]["cpu_s"] / voxels * 1e6 for s in STAGES}
    start = {s: small[s]["cpu_s"] for s in STAGES}
    net = {s: large[s]["cpu_s"] - start[s] for s in STAGES}
    copy_us, apply_us = copies["large"] / voxels * 1e6, us["apply"]
    where = f"{blocks}^3 blocks of {SIZE}^3"
    return [
        row(
            f"count + pool + apply, {where}",
            sum(us.values()),
            "CPU us/voxel",
            most=MOST_US_PER_VOXEL,
        ),
        row(
            "  without the start-up of the three processes",
            sum(net.values()) / voxels * 1e6,
            "CPU us/voxel",
            most=MOST_US_PER_VOXEL,
        ),
        *(
            row(f"  {s}", us[s], "CPU us/voxel", start_up_cpu_s=start[s], **large[s])
            for s in STAGES
        ),
        *(row(f"  start-up of {s}", start[s], "CPU s") for s in STAGES),
        row(
            "apply / copy of its layer by cloud-volume, mips included",
            apply_us / copy_us,
            "x",
            most=MOST_OF_COPY,
        ),
        row(
            "  without start-up",
            net["apply"] / (copies["large"] - copies["small"]),
            "x",
            most=MOST_OF_COPY,
        ),
        row("  copy by cloud-volume", copy_us, "CPU us/voxel", start_up_cpu_s=copies["small"]),
        *(_memory_row(s, large[s], plan) for s in STAGES),
        *(row(f"  {name}", n, "bytes/voxel") for name, n in stored.items()),
    ]


def _stored(directory: Path, plan: Plan) -> dict[str, float]:
    """Bytes a voxel of what segment and apply write."""
    grid, geometry = plan.geometry.grid, plan.geometry
    read = sum(grid.read(k).voxels for k in range(len(grid)))
    written = sum(geometry.mip_box(k).voxels for k in range(len(geometry.factors) + 1))
    places = {
        "labels of blocks, a voxel that is read": ("work/segment-*/**/*", read),
        "output, a voxel of all mips": ("segmentation/**/*", written),
    }
    return {
        name: sum(p.stat().st_size for p in directory.glob(pattern) if p.is_file()) / voxels
        for name, (pattern, voxels) in places.items()
    }


def _memory_row(stage: str, measured: Mapping[str, Any], plan: Plan) -> Row:
    memory = plan.memory[stage]
    return row(
        f"peak of {stage} / its bound",
        measured["peak_bytes"] / memory.bound,
        "x",
        most=1.0,
        expected_over_peak=memory.expected / measured["peak_bytes"],
        peak_bytes=measured["peak_bytes"],
    )


def measure(
    directory: Path, size: int, overlap: int, blocks: int
) -> tuple[dict[str, dict[str, Any]], Plan]:
    """CPU seconds and peak memory of each stage's process, one batch each, and the plan."""
    directory.mkdir()
    core = size - overlap
    zarr_info(directory / "affinity", vec3([core * blocks] * 3))
    config = write_config(
        directory,
        {
            "block": {"size": [size] * 3, "overlap": [overlap] * 3},
            "segment": {"merge_function": "mean"},
            "local": {"workers": 1},
        },
    )
    forked(lambda: _segmented(config, size, core))
    planned = magneton("plan", config, "--run-id", "bench")
    attempt = Path(planned.stdout.split('"attempt": "')[1].split('"')[0])
    found = {}
    for stage in STAGES:
        used = magneton(stage, "--run", attempt)
        found[stage] = {"cpu_s": used.cpu_s, "peak_bytes": used.peak_bytes}
    return found, Plan.from_json((attempt / "plan.json").read_text())


def _segmented(config: Path, size: int, core: int) -> None:
    """Labels and records of all blocks."""
    from magneton_tasks.kernels.overlap.segment import segment_block

    affinity = reflected(source(), vec3([core] * 3))
    affinity = np.pad(affinity, [(0, 0), *[(0, size - core)] * 3], mode="wrap")
    labels, _ = segment_block(
        np.divide(affinity, np.float32(255), dtype=np.float32), SegmentSettings(0.7, "mean")
    )
    fabricate_labels(Planned(config), labels)


def _copy(directory: Path) -> float:
    """CPU seconds of a process that copies the segmentation with cloud-volume."""
    return command(
        sys.executable,
        "-m",
        "benchmarks.copy_layer",
        directory / "segmentation",
        directory / "copy",
    ).cpu_s


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()))
