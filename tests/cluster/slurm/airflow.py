"""An Airflow of the submitting user's beside a real Slurm, with what its tasks do there."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil

from tests.cluster.slurm.cluster import (
    PYTHON,
    ROOT,
    Place,
    admin,
    only_slurm,
    records_of,
    submitter,
    wait_for,
)
from tests.e2e.airflow import PREFIX, Airflow

#: The services start as another user than this process's.
_START = """
import json, sys
from pathlib import Path
from tests.e2e.airflow import ROOT, TestServices
TestServices(Path(sys.argv[1]), ROOT, tuple(map(tuple, json.loads(sys.argv[2])))).start()
"""
SEGMENT = ("segment", 0)
#: For tests of what happens to jobs.
ONLY_SEGMENT = {"stages": ["segment"]}


class SlurmAirflow(Airflow):
    """An Airflow of the submitting user's, and what its tasks do on the cluster."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.path / "airflow")
        self.place = place
        place.own()

    def start(self) -> None:
        done = subprocess.run(
            [PYTHON, "-c", _START, str(self.home), json.dumps(self.services.more)],
            env=self.place.environ(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **submitter(),
        )
        assert done.returncode == 0, done.stdout

    def volume(self, name: str, slurm: Mapping[str, Any] | None = None) -> str:
        """A tiny volume whose jobs wait while the place's file `hold` is there; the DAG is known."""
        self.write_volume(name, only_slurm({"prelude": self.place.holding(), **(slurm or {})}))
        self.place.own()
        self.wait_for_dag(name)
        return name

    def state(self, name: str, run_id: str, task: tuple[str, int] = SEGMENT) -> str | None:
        found = self.tasks(name, run_id).get(task)
        return found["state"] if found else None

    def wait_deferred(self, name: str, run_id: str, tries: int = 1) -> None:
        """Until a try of segment is deferred: the next thing is that a trigger waits for its jobs."""

        def waits() -> bool:
            task = self.tasks(name, run_id).get(SEGMENT, {})
            return task.get("state") == "deferred" and task["try_number"] >= tries

        wait_for(waits, f"try {tries} of segment is deferred", 180)

    def wait_watched(self, name: str, run_id: str) -> None:
        """Until a trigger waits for the jobs of segment's last try."""
        self.wait_deferred(name, run_id)
        number = self.tasks(name, run_id)[SEGMENT]["try_number"]
        path = f"dag_id={PREFIX}{name}/run_id={run_id}/task_id=segment/**/attempt={number}.log.trigger*"

        def waits() -> bool:
            logs = (self.home / "logs").glob(path)
            return any(" starting" in log.read_text() for log in logs)

        wait_for(waits, f"a trigger waits for try {number} of segment")

    def clear(self, name: str, run_id: str) -> None:
        """Clear segment, and what follows it."""
        self.clear_tasks(name, run_id, "segment", reset_dag_runs=True)

    def clear_waiting(self, name: str, run_id: str) -> None:
        """Clear segment while it is deferred, and wait until the next try is."""
        tries = self.tasks(name, run_id)[SEGMENT]["try_number"]
        self.clear(name, run_id)
        self.wait_deferred(name, run_id, tries + 1)

    def family(self, *names: str) -> list[psutil.Process]:
        """Processes of services, with all below them."""
        roots = [p for name, p in self.services.running().items() if name in names]
        return [p for root in roots for p in (root, *root.children(recursive=True))]

    def send(self, number: signal.Signals, *names: str) -> None:
        for process in self.family(*names):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    # ------------------------------------------------------------------ the cluster's side
    def jobs(self, name: str, stage: str = "segment") -> dict[str, str]:
        """State by array of a volume's jobs in the queue."""
        out = admin("squeue", "-h", "-r", "-o", "%F|%T|%j|%k")
        rows = [line.split("|", 3) for line in out.splitlines()]
        prefix, work = f"magneton-{stage}-", str(self.work(name))
        return {i: t for i, t, j, k in rows if j.startswith(prefix) and k.endswith(work)}

    def wait_jobs(self, name: str, state: str) -> dict[str, str]:
        """Until an array is in a state; all arrays then."""
        wait_for(lambda: state in self.jobs(name).values(), f"jobs of {name} are {state}")
        return self.jobs(name)

    def submissions(self, name: str) -> int:
        """Calls of sbatch for a volume's segment."""
        work = str(self.work(name))
        return sum(work in call for call in self.place.submissions("segment"))

    def done(self, name: str) -> Counter[int]:
        """How often each block was done."""
        records = records_of(self.work(name), "segment")
        return Counter(r.key for r in records if r.state == "done")

    def kills(self, name: str) -> int:
        """How often a trigger of segment was told that somebody killed its task."""
        logs = (self.home / "logs").glob(f"dag_id={PREFIX}{name}/**/task_id=segment/**/*.log")
        return sum(log.read_text().count("invoking on_kill") for log in logs)

    def last_words(self, name: str, run_id: str) -> str:
        """The logs of tasks that failed, for a test's message."""
        logs = []
        for (task, index), about in self.tasks(name, run_id).items():
            if about["state"] in ("failed", "up_for_retry"):
                logs.append(self.log(name, run_id, task, about["try_number"], index))
        return "\n".join(logs)
