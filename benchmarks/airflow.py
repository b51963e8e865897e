"""What Airflow itself costs: CPU time of all its processes for a run, and a rerun with nothing to do.

A real Airflow segments the sample (on SQLite) and, with ``--full``, 10,000 blocks of 64^3 voxels (on
PostgreSQL, which is installed where root may; it takes 40 min on two cores). Counted is the CPU time
of its services and of all that ran below them; what the stages' own commands report is taken off. So
each task's start, the start of its command, and the services' idle work meanwhile are Airflow's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import zarr

from benchmarks.measure import Row, magneton, row
from benchmarks.volumes import source, write_config, zarr_info
from magneton_tasks.base.geometry import vec3
from tests.e2e.airflow import Airflow
from tests.e2e.postgres import postgres

SHAPE = ("96", "256", "256")
GRID, SIZE, OVERLAP = (20, 20, 25), 64, 8
#: Seconds that the many blocks may take.
PATIENCE_S = 7200.0


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        sample = Path(directory) / "sample"
        magneton("sample", sample, "--shape", *SHAPE)
        rows = _of(sample, "the sample", None)
    if full:
        with TemporaryDirectory() as directory, postgres() as server:
            rows += _of(
                _many_blocks(Path(directory) / "many"), f"{prod(GRID):,} blocks", server.address
            )
    return rows


def _many_blocks(directory: Path) -> Path:
    """A volume of small blocks, whose chunks all hold the same: links to one file."""
    core = SIZE - OVERLAP
    directory.mkdir()
    shape = vec3([n * core for n in GRID])
    zarr_info(directory / "affinity", shape, chunk=core)
    array: Any = zarr.open_array(directory / "affinity")
    array[:, :core, :core, :core] = source()[:, :core, :core, :core]
    chunks = directory / "affinity" / "c" / "0"
    for index in np.ndindex(*(-(-n // core) for n in shape)):
        chunk = chunks.joinpath(*map(str, index))
        if any(index):
            chunk.parent.mkdir(parents=True, exist_ok=True)
            chunk.hardlink_to(chunks / "0" / "0" / "0")
    block = {"size": [SIZE] * 3, "overlap": [OVERLAP] * 3}
    write_config(directory, {"block": block})
    return directory


def _of(volume: Path, what: str, database: str | None) -> list[Row]:
    """The rows of a directory with a config and all that belongs to it."""
    airflow = Airflow(volume / "airflow", database)
    (airflow.configs / f"{volume.name}.yaml").write_text((volume / "volume.yaml").read_text())
    try:
        airflow.start()
        airflow.wait_for_dag(volume.name)
        return _rows(airflow, volume, what)
    finally:
        airflow.stop()


def _rows(airflow: Airflow, volume: Path, what: str) -> list[Row]:
    work, name = volume / "work", volume.name
    cpu_s, wall_s = _measured(airflow, name)
    again_cpu_s, again_wall_s = _measured(airflow, name)
    results = [json.loads(p.read_text()) for p in sorted(work.glob("runs/*/1/results/*.json"))]
    stages_s = sum(r.get("cpu_s", 0.0) for r in results)
    batches = sum("batch" in r for r in results)
    own_s = cpu_s - stages_s
    return [
        row(f"a run of {what}, {batches} batches", wall_s, "s", stages_cpu_s=stages_s),
        row("  Airflow's own CPU time, all processes", own_s, "CPU s"),
        row("  the same a batch", own_s / batches, "CPU s"),
        row("  its share of all CPU time", 100 * own_s / cpu_s, "%"),
        row("  a rerun with nothing to do", again_wall_s, "s", most=20),
        row("  all CPU time of that rerun", again_cpu_s, "CPU s"),
    ]


def _measured(airflow: Airflow, name: str) -> tuple[float, float]:
    """CPU and wall seconds of a run."""
    before, began = _cpu_s(airflow.services.running().values()), time.monotonic()
    state = airflow.wait_for_run(name, airflow.trigger(name), PATIENCE_S)
    wall_s = time.monotonic() - began
    assert state == "success"
    return _cpu_s(airflow.services.running().values()) - before, wall_s


def _cpu_s(services: Iterable[psutil.Process]) -> float:
    """CPU time of processes, of what lives below them, and of what has ended there."""
    total = 0.0
    for service in services:
        for process in (service, *service.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
    return total
