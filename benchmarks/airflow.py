"""What Airflow itself costs: CPU time of all its processes for a run, and a rerun with nothing to do.

A real Airflow (SQLite) segments the sample. Counted is the CPU time of its services and of all that
ran below them; what the stages' own commands report is taken off. So each task's start, the start of
its command, and the services' idle work meanwhile are Airflow's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.measure import Row, magneton, row
from tests.e2e.airflow import Airflow

SHAPE = ("96", "256", "256")
NAME = "sample"


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    with TemporaryDirectory() as directory:
        airflow = Airflow(Path(directory) / "airflow")
        sample = Path(directory) / "sample"
        magneton("sample", sample, "--shape", *SHAPE)
        config = (sample / "volume.yaml").read_text()
        (airflow.configs / f"{NAME}.yaml").write_text(config)
        try:
            airflow.start()
            airflow.wait_for_dag(NAME)
            return _rows(airflow, sample / "work")
        finally:
            airflow.stop()


def _rows(airflow: Airflow, work: Path) -> list[Row]:
    (cpu_s, wall_s), (again_cpu_s, again_wall_s) = _measured(airflow), _measured(airflow)
    results = [json.loads(p.read_text()) for p in sorted(work.glob("runs/*/1/results/*.json"))]
    stages_s = sum(r.get("cpu_s", 0.0) for r in results)
    batches = sum("batch" in r for r in results)
    own_s = cpu_s - stages_s
    return [
        row(f"Airflow: a run of the sample, {batches} batches", wall_s, "s"),
        row("Airflow: its own CPU time of that run, all processes", own_s, "CPU s"),
        row("Airflow: its own CPU time a batch", own_s / batches, "CPU s"),
        row("Airflow: its own share of all CPU time", own_s / cpu_s, ""),
        row("Airflow: a rerun with nothing to do", again_wall_s, "s", most=20),
        row("Airflow: all CPU time of that rerun", again_cpu_s, "CPU s"),
    ]


def _measured(airflow: Airflow) -> tuple[float, float]:
    """CPU and wall seconds of a run."""
    before, began = _cpu_s(airflow.services.running().values()), time.monotonic()
    _, state = airflow.run(NAME)
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
