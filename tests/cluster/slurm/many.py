"""Many array tasks of no work, watched as a run's are."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from tests.cluster.slurm.cluster import PYTHON, ROOT, Place, submitter

#: Run as the submitting user: submit, wait until there's something to decide, tell how it stands.
_WATCH = """
import asyncio, json, sys, time
from magneton_tasks.runners.arrays.snapshot import Timing
from magneton_tasks.runners.arrays.states import reference
from magneton_tasks.runners.arrays.watch import wait_ready
from magneton_tasks.runners.slurm.cluster import SlurmCluster
from magneton_tasks.runners.slurm.programs import Slurm
tasks, slurm = int(sys.argv[1]), Slurm()
words = ["sbatch", "--parsable", f"--array=0-{tasks - 1}", "--mem=50M", "--output=/dev/null", "--chdir=/"]
job = slurm.run(words, "#!/bin/sh\\nexit 0\\n").out.strip()
began = time.monotonic()
seen = asyncio.run(wait_ready(SlurmCluster(slurm), [reference(job, range(tasks))], Timing(1, 5, 60, 600)))
states = [t.word for t in seen.jobs[job].values()]
print(json.dumps({"completed": states.count("COMPLETED"), "seconds": time.monotonic() - began}))
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """How tasks ended, and how long that took."""

    completed: int
    seconds: float


def watch_tasks(place: Place, tasks: int) -> Seen:
    """Submit one array of tasks that do nothing, and watch it to its end."""
    done = subprocess.run(
        [PYTHON, "-c", _WATCH, str(tasks)],
        env=place.environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **submitter(),
    )
    assert done.returncode == 0, done.stderr
    return Seen(**json.loads(done.stdout))
