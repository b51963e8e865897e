"""What the processes of a run on files import: what is heavy, and what serves buckets, stays out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.tiny_volume import write_tiny_volume

#: For buckets, Airflow, Zarr volumes, and what numba looks for in scipy: seconds of CPU a process.
HEAVY = (
    "airflow", "boto3", "botocore", "cloudfiles", "cloudvolume", "google.api_core", "google.auth",
    "google.cloud", "matplotlib", "numcodecs", "scipy.linalg", "scipy.ndimage", "tensorstore", "zarr",
)  # fmt: skip
#: numba imports it to compile, and nothing needs that in a run.
COMPILER = "numba.np.polynomial.polynomial_core"
#: Each process leaves a file with its command and the modules that it has at its end; a forked
#: child ends with os._exit, which calls no functions of atexit. Cells are small enough to leave a
#: mip to downsample, as those of a large volume do.
WATCH = """
import atexit, gc, os, sys

from magneton_tasks.plan import geometry

assert geometry.MAX_CELL_VOXELS
geometry.MAX_CELL_VOXELS = 16_000

def leave_note():
    note = os.path.join(os.environ["NOTES"], str(os.getpid()))
    with open(note + ".part", "w") as file:
        print(*sys.argv[1:2], *sorted(sys.modules), sep="\\n", file=file)
        if gc.isenabled() and gc.get_freeze_count() > 2 * len(gc.get_objects()):
            print("(searched for cycles among what was made since its imports)", file=file)
    os.replace(note + ".part", note + ".note")

def end(code, end=os._exit):
    leave_note()
    end(code)

atexit.register(leave_note)
os._exit = end
"""


Process = tuple[str, set[str]]


class Watched:
    """Runs `magneton`, and collects what its processes imported."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes"
        self._notes.mkdir()
        (folder / "watch").mkdir()
        (folder / "watch" / "sitecustomize.py").write_text(WATCH)
        paths = [str(folder / "watch"), os.environ.get("PYTHONPATH", "")]
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "NOTES": str(self._notes),
        }

    def __call__(self, *arguments: object, last: str = "") -> list[Process]:
        """Command and modules of each process that took part; ``last``: may end after the command."""
        for note in self._notes.iterdir():
            note.unlink()
        command = [sys.executable, "-m", "magneton_tasks", *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        until = time.monotonic() + 60
        while True:
            notes = [note.read_text().splitlines() for note in self._notes.glob("*.note")]
            if not last or any(command == last for command, *_ in notes):
                break
            assert time.monotonic() < until, f"{last} left no note"
            time.sleep(0.05)
        return [(command, set(modules)) for command, *modules in notes]


@dataclass(frozen=True)
class WatchedRun:
    """A run of real processes, and what was seen of them; the tests only read it."""

    folder: Path
    config: Path
    watched: Watched
    found: list[Process]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], WatchedRun]:
    """The one run of a method."""

    @cache
    def run(method: str) -> WatchedRun:
        folder = tmp_path_factory.mktemp(method)
        watched, config = Watched(folder), write_tiny_volume(folder, method=method)
        return WatchedRun(
            folder, config, watched, watched("run", config, "--workers", 1, last=method)
        )

    return run


@pytest.mark.parametrize(
    ("method", "stages"),
    [
        ("exact", {"segment", "faces", "round0", "pool", "cut", "apply", "downsample", "verify"}),
        ("overlap", {"segment", "count", "pool", "apply", "downsample", "verify"}),
    ],
)
def test_no_process_of_a_run_on_files_imports_what_serves_others(
    run_of: Callable[[str], WatchedRun], method: str, stages: set[str]
) -> None:
    unwanted = {*HEAVY, COMPILER} | ({"waterz"} if method == "exact" else set())
    run = run_of(method)
    # what the template of the workers forks is called by its method before it is a worker
    assert {command for command, _ in run.found} == {"run", method, *stages}
    assert sum(command == "segment" for command, _ in run.found) > 1  # children of blocks, too
    heavy = {(command, name) for command, names in run.found for name in names & unwanted}
    assert heavy == set()

    # The next plan takes the samples of before, and has nothing to compute.
    ((_, modules),) = run.watched("plan", run.config, "--run-id", "again")
    assert modules & {*HEAVY, "numba", "pyarrow", "waterz"} == set()


SEARCHED = "(searched for cycles among what was made since its imports)"


def test_each_worker_is_done_with_the_objects_of_its_imports(
    run_of: Callable[[str], WatchedRun],
) -> None:
    """Python's search for cycles among them takes a fifth of the CPU time of a short process."""
    left = {command for command, names in run_of("exact").found if SEARCHED not in names}
    left -= {"exact"}  # the template, and what it forks before that is a worker
    assert left == {"run"}  # it imports as it goes


PROVE = """
import sys
from pathlib import Path
from magneton_tasks.stages.dispatch import run_of
from magneton_tasks.work.attempts import open_latest
from magneton_tasks.work.job import Job

attempt = open_latest(Path(sys.argv[1]), None)
assert run_of("verify", attempt.config.method)(Job(attempt, "verify")) == 0
print(*sorted(sys.modules), sep="\\n")
"""


def test_the_proof_needs_nothing_that_draws(run_of: Callable[[str], WatchedRun]) -> None:
    run = run_of("overlap")
    command = [sys.executable, "-c", PROVE, str(run.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"PIL", "jinja2"} & set(done.stdout.splitlines()) == set()
    (report,) = run.folder.glob("work/runs/*/1/report.html")
    assert report.stat().st_size > 0 and (report.parent / "preview.png").exists()
