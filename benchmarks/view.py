"""``magneton view``: how long a chunk takes on loopback."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import MAGNETON, ROOT, Row, row
from magneton_tasks.formats.precomputed.write import write_volume

#: 216 chunks of each layer, 0.8 MB of affinities and 0.04 MB of labels each.
SHAPE = (384, 384, 384)
NEW_CONNECTIONS = 300


def run(full: bool = False) -> list[Row]:
    """Every chunk of two layers over one connection, some over connections of their own."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        _write_volume(root)
        with open(root / "log", "w+") as log:
            process = subprocess.Popen(
                [*MAGNETON, "view", str(root / "volume.yaml")],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            try:
                port, path = link_of(root / "log", process)
                return _rows(root, port, path)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)


def _write_volume(root: Path) -> None:
    """Labels in cubes with ragged borders, affinities of noise."""
    random = np.random.default_rng(0)
    z, y, x = (np.arange(n) // 24 for n in SHAPE)
    labels = (z[:, None, None] * 64 + y[:, None] * 8 + x + 1).astype(np.uint64) << np.uint64(32)
    labels += random.integers(0, 2, SHAPE, np.uint8)
    write_volume(
        f"file://{root}/segmentation",
        labels,
        (40, 16, 16),
        chunk_size=(64, 64, 64),
        encoding="compressed_segmentation",
        layer_type="segmentation",
    )
    noise = random.integers(0, 256, (3, *SHAPE), np.uint8)
    write_volume(
        f"file://{root}/affinity", noise, (40, 16, 16), chunk_size=(64, 64, 64), compress=None
    )
    (root / "volume.yaml").write_text(
        f"paths: {{input: 'file://{root}/affinity', output: 'file://{root}/segmentation', work: '{root}/work'}}\n"
    )


def link_of(log: Path, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    while True:
        match = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+)\n[\s\S]*Ctrl-C", log.read_text())
        if match is not None:
            return int(match[1]), match[2]
        if process.poll() is not None:
            raise RuntimeError(f"magneton view ended:\n{log.read_text()}")
        time.sleep(0.05)


def _rows(root: Path, port: int, path: str) -> list[Row]:
    names = {
        layer: [
            f"{path}data/{n}/16_16_40/{chunk.name.removesuffix('.gz')}"
            for chunk in sorted((root / layer / "16_16_40").iterdir())
        ]
        for n, layer in enumerate(("affinity", "segmentation"))
    }
    rows = []
    for layer, paths in names.items():
        times, total = _one_connection(port, paths)
        rows += [
            row(
                f"view: a chunk of the {layer}, one connection", 1e3 * median(times), "ms", most=10
            ),
            row("  the slowest of 20", 1e3 * sorted(times)[-len(times) // 20], "ms"),
            row("  throughput", total / sum(times) / 1e6, "MB/s", chunks=len(times)),
        ]
    times = [_one_connection(port, [p])[0][0] for p in names["segmentation"][:NEW_CONNECTIONS]]
    rows.append(
        row(
            "view: a chunk of the segmentation, new connections", 1e3 * median(times), "ms", most=10
        )
    )
    missing = [f"{path}data/1/16_16_40/{n}-{n + 64}_0-64_0-64" for n in range(10_000, 10_300)]
    times, _ = _one_connection(port, missing)
    rows.append(row("view: a chunk that isn't there", 1e3 * median(times), "ms"))
    return rows


def _one_connection(port: int, paths: list[str]) -> tuple[list[float], int]:
    """Seconds of each request (of the first: with the connection), and bytes in all."""
    times, total = [], 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path in paths:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        total += len(connection.getresponse().read())
        times.append(time.perf_counter() - began)
    connection.close()
    return times, total
