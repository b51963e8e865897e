"""The Slurm runner: politeness with a fake cluster; submission and efficiency on the one at hand.

- queries: all calls of Slurm's programs in a minute, by the triggers of 10 arrays of 1,000 indexes
  (all of them change at every look, the worst case), and of 256 small arrays.
- submission: 10,000 blocks, one a part, in arrays that may not begin yet; cancelled at the end.
- efficiency: CPU seconds used / reserved of the sample volume's jobs, as the usage report has it.

The last two are left out where no Slurm answers (``KEEP=1 make test-slurm`` leaves one running).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Row, magneton, row
from benchmarks.volumes import write_config, zarr_info

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
        return [*rows, *_submission(Path(directory)), *_efficiency(Path(directory))]


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

    from magneton_tasks.airflow.slurm_trigger import SlurmTrigger
    from magneton_tasks.runners.slurm.programs import Slurm
    from magneton_tasks.runners.slurm.states import reference
    from magneton_tasks.runners.slurm.watch import Timing

    async def one(k: int) -> None:
        trigger = SlurmTrigger(
            slurm=Slurm().to_data(), timing=asdict(Timing()), until=None, token="bench",
            jobs=[reference(str(100 + k), range(indexes))], attempt="/", stage="segment", batch=k,
        )  # fmt: skip
        async for _ in trigger.run():
            raise AssertionError("nothing ends here")

    tasks = [asyncio.create_task(one(k)) for k in range(arrays)]
    await asyncio.sleep(MINUTE_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _submission(folder: Path) -> list[Row]:
    """Arrays of as many indexes as the cluster takes; none begins before it is cancelled."""
    from magneton_tasks.runners.slurm.batch import BatchJobs, Wait

    directory = folder / "many"
    directory.mkdir()
    zarr_info(directory / "affinity", (10 * 12, 10 * 12, 100 * 12))
    settings = {
        "target_minutes": 1e-6, "max_queued": BLOCKS, "max_running": BLOCKS, "memory": "1GiB",
        "extra_args": {"begin": "now+1hour"},
    }  # fmt: skip
    config = write_config(directory, {
        "block": {"size": [16] * 3, "overlap": [4] * 3},
        "runner": {"offered": ["slurm"], "default": "slurm"}, "slurm": settings,
    })  # fmt: skip
    magneton("plan", config, "--run-id", "bench")
    (attempt,) = (directory / "work" / "runs").glob("*/1")
    planned = json.loads((attempt / "plan.json").read_text())["work"]["segment"]
    taken = began = time.monotonic()
    batches = [BatchJobs.open(attempt, "segment", k) for k in range(planned["batches"])]
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
            f"submission of {BLOCKS:,} blocks", taken, "s", most=30,
            arrays=planned["batches"], parts=planned["parts"],
        )
    ]  # fmt: skip


def _efficiency(folder: Path) -> list[Row]:
    directory = folder / "sample"
    magneton("sample", directory, "--shape", "128", "384", "384")
    began = time.monotonic()
    magneton("run", directory / "volume.yaml", "--runner", "slurm", "--set", "slurm.memory=1800MiB")
    wall_s = time.monotonic() - began
    (report,) = directory.glob("work/runs/*/1/**/usage.json")
    stages: list[dict[str, Any]] = json.loads(report.read_text())["stages"]
    used, reserved = (sum(s[key] for s in stages) for key in ("cpu_s", "reserved_cpu_s"))
    return [
        row(
            "sample: CPU used / reserved", 100 * used / reserved, "%", used=used, reserved=reserved
        ),
        row("  the whole run, wall", wall_s, "s"),
    ]
