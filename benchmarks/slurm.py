"""The Slurm runner: politeness with a fake cluster; submission and efficiency on the one at hand.

- queries: all calls of Slurm's programs in a minute, by the triggers of 10 arrays of 1,000 indexes
  (all of them change at every look, the worst case), and of 256 small arrays.
- submission: 10,000 blocks, one a part, in arrays that may not begin yet; cancelled at the end.
- latency: from the end of an array's last task to the success of its Airflow task, at the default
  interval: of each stage of a small volume, in an Airflow with SQLite.
- efficiency: CPU seconds used / reserved of the sample volume's jobs, as the usage report has it;
  and what the controller, ``magneton run``, took meanwhile.

All but the first are left out where no Slurm answers (``KEEP=1 make test-slurm`` leaves one running);
latency needs root there, and that cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Row, magneton, row
from benchmarks.volumes import write_config, zarr_info
from tests.cluster.slurm.cluster import STATE

MINUTE_S = 60.0
BLOCKS = 10_000
#: A squeue of the answers that the poller asks for: each index changes at every call.
_FAKE = """#!{python}
import re, sys
from pathlib import Path
calls = Path({calls!r})
with calls.open("a") as file:
    file.write("squeue\\n")
state = "RUNNING" if calls.stat().st_size // 7 % 2 else "PENDING"
jobs = next(a for a in sys.argv if a.startswith("--jobs=")).removeprefix("--jobs=").split(",")
for job in jobs:
    for index in range({indexes}):
        print(f"{{job}}|{{index}}|{{state}}|0:10|n1|None")
"""


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    rows = [
        _queries("queries a minute, 10,000 tasks in 10 arrays", 10, 1000),
        _queries("queries a minute, 256 triggers", 256, 4),
    ]
    try:
        subprocess.run(["sinfo"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return [*rows, row("slurm: the rest is left out", str(error), "")]
    with TemporaryDirectory(prefix="magneton-bench-") as directory:
        rows += [*_submission(Path(directory)), *_efficiency(Path(directory))]
    return [*rows, *(_latency() if os.geteuid() == 0 and STATE.is_dir() else ())]


def _queries(what: str, arrays: int, indexes: int) -> Row:
    with TemporaryDirectory() as directory:
        calls, program = Path(directory) / "calls", Path(directory) / "squeue"
        calls.touch()
        program.write_text(_FAKE.format(python=sys.executable, calls=str(calls), indexes=indexes))
        program.chmod(0o755)
        os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"
        began = time.process_time()
        asyncio.run(_watch(arrays, indexes))
        cpu_s = time.process_time() - began
        seen = len(calls.read_text().splitlines())
    assert seen > 1, "nobody asked"
    return row(what, seen, "1/min", most=6, cpu_s=round(cpu_s, 2))


async def _watch(arrays: int, indexes: int) -> None:
    """Triggers of one triggerer, for a minute."""
    from dataclasses import asdict

    from magneton_tasks.airflow.operators.array_trigger import JobsTrigger
    from magneton_tasks.runners.arrays.snapshot import Timing
    from magneton_tasks.runners.arrays.states import reference
    from magneton_tasks.runners.slurm.programs import Slurm

    async def one(k: int) -> None:
        trigger = JobsTrigger(
            runner="slurm",
            cluster=Slurm().to_data(),
            timing=asdict(Timing()),
            until=None,
            token="bench",
            jobs=[reference(str(100 + k), range(indexes))],
            attempt="/",
            stage="segment",
            batch=k,
        )
        async for _ in trigger.run():
            raise AssertionError("nothing ends here")

    tasks = [asyncio.create_task(one(k)) for k in range(arrays)]
    await asyncio.sleep(MINUTE_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _submission(folder: Path) -> list[Row]:
    """Arrays of as many indexes as the cluster takes; none begins before it is cancelled."""
    from magneton_tasks.runners.arrays.steps import Wait
    from magneton_tasks.runners.jobs import open_jobs

    directory = folder / "many"
    directory.mkdir()
    zarr_info(directory / "affinity", (10 * 12, 10 * 12, 100 * 12))
    settings = {
        "target_minutes": 1e-6, "max_queued": BLOCKS, "max_running": BLOCKS, "memory": "1GiB",
        "extra_args": {"begin": "now+1hour"},
    }  # fmt: skip
    config = write_config(
        directory,
        {
            "block": {"size": [16] * 3, "overlap": [4] * 3},
            "runner": {"offered": ["slurm"], "default": "slurm"},
            "slurm": settings,
        },
    )
    magneton("plan", config, "--run-id", "bench")
    (attempt,) = (directory / "work" / "runs").glob("*/1")
    planned = json.loads((attempt / "plan.json").read_text())["work"]["segment"]
    taken = began = time.monotonic()
    batches = [open_jobs(attempt, "segment", k) for k in range(planned["batches"])]
    tokens = []
    try:
        for batch in batches:
            tokens.append(batch.adopt())
            step = batch.step(tokens[-1])
            assert isinstance(step, Wait), step
        taken = time.monotonic() - began
    finally:
        for batch, token in zip(batches, tokens, strict=False):
            batch.cancel(token)
    return [
        row(
            f"submission of {BLOCKS:,} blocks",
            taken,
            "s",
            most=30,
            arrays=planned["batches"],
            parts=planned["parts"],
        )
    ]


def _efficiency(folder: Path) -> list[Row]:
    directory = folder / "sample"
    magneton("sample", directory, "--shape", "128", "384", "384")
    began = time.monotonic()
    # nodes that share a machine reserve CPUs that it hasn't: no more jobs at a time than it has
    controller = magneton(
        "run",
        directory / "volume.yaml",
        "--runner",
        "slurm",
        "--set",
        "slurm.memory=1800MiB",
        "--set",
        f"slurm.max_running={os.cpu_count()}",
    )
    wall_s = time.monotonic() - began
    (report,) = directory.glob("work/runs/*/1/**/usage.json")
    stages: list[dict[str, Any]] = json.loads(report.read_text())["stages"]
    used, reserved = (sum(s[key] for s in stages) for key in ("cpu_s", "reserved_cpu_s"))
    return [
        row(
            "sample: CPU used / reserved", 100 * used / reserved, "%", used=used, reserved=reserved
        ),
        row("  the whole run, wall", wall_s, "s"),
        row("  its controller, with start and plan", controller.cpu_s, "CPU s"),
        row("  its controller, peak memory", controller.peak_bytes / 2**20, "MiB", most=300),
    ]


def _latency() -> list[Row]:
    from tests.cluster.slurm.airflow import SlurmAirflow
    from tests.cluster.slurm.cluster import Place

    place = Place()
    airflow = SlurmAirflow(place)
    try:
        airflow.start()
        name = airflow.volume("latency", {"poll_s": 10, "max_poll_s": 120, "probe": True})
        run_id = airflow.trigger(name)
        state = airflow.wait_for_run(name, run_id)
        assert state == "success", airflow.last_words(name, run_id)
        ends = _ends_of_jobs(str(airflow.work(name)))
        seconds = {
            task: datetime.fromisoformat(about["end_date"]).timestamp() - ends[task]
            for (task, _), about in airflow.tasks(name, run_id).items()
            if task in ends
        }
    finally:
        airflow.stop()
        place.remove()
    return [
        row(
            "from the last job's end to the task's success, slowest stage",
            max(seconds.values()),
            "s",
            most=15,
            stages=seconds,
        ),
        row("  the same, mean of all stages", fmean(seconds.values()), "s"),
    ]


def _ends_of_jobs(work: str) -> dict[str, float]:
    """When the last job of each stage ended, in seconds since the epoch."""
    asked = ["sacct", "-a", "-X", "-n", "-P", "-S", "now-1hour", "-o", "End,JobName,Comment%500"]
    out = subprocess.run(
        asked,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SLURM_TIME_FORMAT": "%s"},
    ).stdout
    ends: dict[str, float] = {}
    for line in out.splitlines():
        end, name, comment = line.split("|", 2)
        if comment.endswith(work):
            stage = name.split("-")[1]
            ends[stage] = max(ends.get(stage, 0.0), float(end))
    return ends
