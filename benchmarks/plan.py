"""Plans, statuses and reruns of many blocks.

- plan: 10^6 blocks of a volume that has metadata and no chunks. Planned twice: the first plan also
  samples the input; the second, whose samples are kept, is the one that counts.
- status: 10^5 blocks, each with its records *started* and *done*.
- rerun: 10^4 blocks with all that they have: the records, the pool table and the chunks (of
  background) are really there. Six chunks a block and mip 0, as with blocks of 256^3 and chunks of 128^3;
  ``--full`` also has 43, as with the default chunks of 64^3. Counted is the whole tree of processes
  of ``magneton run``; verify reads each chunk, and what looking at all sizes takes in a plain loop
  is a row of its own.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.measure import Row, command, forked, magneton, row
from benchmarks.volumes import Planned, write_config, write_records, zarr_info
from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.plan.plan import digest

MANY, STATUS_BLOCKS, RERUN_BLOCKS = 100, 100_000, 10_000
LABELS = 20


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        rows = _plan(root / "plan") + _status(root / "status") + _rerun(root / "rerun", 32)
        if full:
            rows += _rerun(root / "rerun-many", 16, demanded=False)
    return rows


def _plan(directory: Path) -> list[Row]:
    directory.mkdir()
    size, overlap = 16, 4
    zarr_info(directory / "affinity", vec3([MANY * (size - overlap)] * 3))
    config = write_config(
        directory,
        {
            "block": {"size": [size] * 3, "overlap": [overlap] * 3},
        },
    )
    first = magneton("plan", config, "--run-id", "bench")
    again = magneton("plan", config, "--run-id", "bench")
    dry = magneton("run", config, "--dry-run")
    assert f"{MANY**3:,} blocks" in again.stdout, again.stdout
    return [
        row("plan of 10^6 blocks", again.cpu_s, "CPU s", most=5),
        row("  its peak", again.peak_bytes / 1e6, "MB", most=500),
        row("  with sampling, the first time", first.cpu_s, "CPU s", peak_bytes=first.peak_bytes),
        row("  magneton run --dry-run, with sampling", dry.cpu_s, "CPU s"),
    ]


def _status(directory: Path) -> list[Row]:
    directory.mkdir()
    size, overlap = 16, 4
    zarr_info(directory / "affinity", vec3([10 * 12, 100 * 12, 100 * 12]))
    config = write_config(directory, {"block": {"size": [size] * 3, "overlap": [overlap] * 3}})
    forked(lambda: _segment_records(Planned(config)))
    magneton("plan", config, "--run-id", "bench")
    used = magneton("status", config)
    assert f"{STATUS_BLOCKS:,}" in used.stdout, used.stdout
    return [
        row("status, 10^5 blocks done (2 x 10^5 lines)", used.cpu_s, "CPU s", most=3),
        row("  its peak", used.peak_bytes / 1e6, "MB"),
    ]


def _segment_records(planned: Planned) -> dict[int, str]:
    """Records of segmented blocks; their output digests."""
    n = len(planned.geometry.grid)
    outputs = {k: digest("labels", k) for k in range(n)}
    info = {"n": LABELS, "files": {"labels": [123456, 1234567890], "sizes": [12345, 1234567890]}}
    write_records(
        planned.stage_dir("segment") / "records",
        "segment",
        range(n),
        lambda k: {"input": planned.input_digest, "output": outputs[k], "info": info},
    )
    return outputs


def _rerun(directory: Path, chunk: int, demanded: bool = True) -> list[Row]:
    directory.mkdir()
    size, overlap = 64, 8  # a fourth of the default sizes
    zarr_info(directory / "affinity", vec3([25 * 56, 20 * 56, 20 * 56]))
    config = write_config(
        directory,
        {
            "paths": {"max_files": 10_000_000},
            "block": {"size": [size] * 3, "overlap": [overlap] * 3},
            "apply": {"chunk_size": [chunk] * 3},
            "local": {"workers": 1},
        },
    )
    first = magneton("plan", config, "--run-id", "first").stdout
    attempt = Path(json.loads(first.splitlines()[-1])["attempt"])
    chunks, _ = forked(lambda: _finish(Planned(config), attempt))
    magneton("release", "--run", attempt)
    used = min((magneton("run", config) for _ in range(2)), key=lambda u: u.cpu_s)
    assert f"{chunks:,}" in used.stdout, used.stdout
    planned = magneton("plan", config, "--run-id", "third")
    assert json.loads(planned.stdout.splitlines()[-1])["nothing_to_do"], planned.stdout
    look = command(sys.executable, "-c", LOOK, directory / "segmentation")
    name = f"rerun of 10^4 blocks, all done, verified ({chunks:,} chunks)"
    return [
        row(name, used.cpu_s, "CPU s", most=3 if demanded else None, chunks=chunks),
        row("  its peak", used.peak_bytes / 1e6, "MB"),
        row("  plan alone", planned.cpu_s, "CPU s"),
        row("  the sizes of all chunks in a plain loop", look.cpu_s, "CPU s"),
    ]


LOOK = """
import os, sys
for folder in os.scandir(sys.argv[1]):
    if folder.is_dir():
        sum(entry.stat().st_size for entry in os.scandir(folder.path))
"""


def _finish(planned: Planned, attempt: Path) -> int:
    """Leave all that a finished run leaves, but for labels and pairs; how many chunks there are."""
    from magneton_tasks.base.files import FileInfo
    from magneton_tasks.formats.precomputed.chunks import compress, encode_chunk
    from magneton_tasks.work.attempt import Attempt
    from magneton_tasks.work.chunks import info_of
    from magneton_tasks.work.pool_table import write_pool
    from magneton_tasks.work.stores import segmentation, table_dir
    from magneton_tasks.work.validity import count_input, pool_input

    opened = Attempt.open(attempt)
    grid, geometry = planned.geometry.grid, planned.geometry
    outputs = _segment_records(planned)
    counts = {k: count_input(outputs, k, grid.later_neighbours(k)) for k in range(len(grid))}
    files = {"pairs": [1234567, 1234567890], "sizes": [123456, 1234567890]}
    write_records(
        planned.stage_dir("count") / "records",
        "count",
        range(len(grid)),
        lambda k: {
            "input": counts[k],
            "info": {
                "n": LABELS,
                "file": "host-12345-00000000",
                "pairs": [k * 99, 99],
                "sizes": [k * LABELS, LABELS],
                "files": files,
            },
        },
    )
    pool = pool_input(counts)
    info = {"objects": 1000, "labels": LABELS * len(grid), "joins": 1000}
    write_records(
        planned.stage_dir("pool") / "records",
        "pool",
        range(1),
        lambda _: {"input": pool, "info": info},
    )
    ids = np.arange(1, LABELS + 1, dtype=np.uint64)
    for begin in range(0, len(grid), 1024):
        blocks = range(begin, min(begin + 1024, len(grid)))
        write_pool(table_dir(opened, pool), dict.fromkeys(blocks, ids))
    output = segmentation(opened)
    assert geometry.coarse_cells is None
    total = 0

    def written(key: int) -> dict[str, Any]:
        nonlocal total
        chunks = []
        for mip in range(len(geometry.factors) + 1):
            box = geometry.cell_box("apply", key, mip)
            tiles = list(box.tiles(output.scales[mip].chunk_size))
            for tile in tiles:
                path = output.objects.path(output.chunk_path(mip, tile))
                path.parent.mkdir(exist_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
                os.write(descriptor, packed(tile.shape))
                os.close(descriptor)
            contents = [packed(tile.shape) for tile in tiles]
            chunks.append([FileInfo(len(c), crc32(c)) for c in contents])
            total += len(tiles)
        return {"input": digest("cell", key), "info": info_of(pool, chunks)}

    @cache
    def packed(shape: Vec3) -> bytes:
        zeros = np.zeros((1, *shape), np.uint64)
        return compress(encode_chunk(zeros, output.encoding), output.compress)

    write_records(
        planned.stage_dir("apply") / "records", "apply", range(len(geometry.cells)), written
    )
    return total
