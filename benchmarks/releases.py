"""Whole runs by this release and by an earlier one, in turns: CPU seconds of all their processes.

``MAGNETON_BENCH_EARLIER`` names a checkout; ``MAGNETON_BENCH_EARLIER_PYTHON`` what runs it, by default
that of its ``.venv``, else this one's. Each release keeps its own compiled code, made before the clock
starts. CPU seconds count user and system, of every process that a run starts, and the least of some
turns counts: other work on the machine costs wall time, and some CPU time by cold caches.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir
from typing import Any

from benchmarks.measure import ROOT, Usage, command
from magneton_tasks.work import results
from magneton_tasks.work.paths import AttemptPaths

EARLIER = "MAGNETON_BENCH_EARLIER"
EARLIER_PYTHON = "MAGNETON_BENCH_EARLIER_PYTHON"
_KERNELS = "MAGNETON_KERNEL_CACHE"

#: Stages of either release, by what they are reported as.
PARTS = {"segment": "segment", "apply": "apply"}
BETWEEN = "from faces to cut"


@dataclass(frozen=True)
class Release:
    """A checkout, and what runs it."""

    name: str
    checkout: Path
    python: str
    environment: Mapping[str, str]

    def magneton(self, *arguments: object) -> Usage:
        """Run ``magneton ...``."""
        return command(
            self.python,
            *("-m", "magneton_tasks"),
            *arguments,
            env=dict(self.environment),
            cwd=self.checkout,
        )

    @cached_property
    def unasked(self) -> tuple[str, ...]:
        """What keeps ``magneton run`` from asking, where it asks at all."""
        return ("--yes",) if "--yes" in self.magneton("run", "--help").stdout else ()


def this_release() -> Release:
    return Release("this release", ROOT, sys.executable, {})


def earlier_release() -> Release | None:
    """None: none is given."""
    given = os.environ.get(EARLIER)
    if given is None:
        return None
    checkout = Path(given)
    own = checkout / ".venv" / "bin" / "python"
    python = os.environ.get(EARLIER_PYTHON) or str(own if own.exists() else sys.executable)
    kernels = os.environ.get(_KERNELS, f"{gettempdir()}/magneton-kernels")
    return Release("the earlier release", checkout, python, {_KERNELS: f"{kernels}-earlier"})


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run took.

    Attributes
    ----------
    cpu_s
        All processes, start-ups and plan included.
    work_s
        CPU seconds by stage, beside the start-up of its processes.
    tasks
        Processes by stage.
    peak_bytes
        Of the largest process, by stage.
    """

    attempt: Path
    cpu_s: float
    work_s: Mapping[str, float]
    tasks: Mapping[str, int]
    peak_bytes: Mapping[str, int]

    def part(self, what: str) -> float:
        """CPU seconds of segment, of apply, or of all mapped stages between them and pool."""
        if what != BETWEEN:
            return self.work_s.get(what, 0.0)
        return sum(s for stage, s in self.work_s.items() if stage not in PARTS)


def ran(release: Release, config: Path, *options: object) -> Ran:
    """Run a config to its end; what earlier runs left is used."""
    work = config.parent / "work"
    before = set(work.glob("runs/*/*"))
    used = release.magneton("run", config, *release.unasked, *options)
    (attempt,) = set(work.glob("runs/*/*")) - before
    return _of(attempt, used.cpu_s)


def fresh(release: Release, config: Path) -> Ran:
    """Run a config from nothing, but for the samples that plan takes of the map."""
    for name in ("work", "segmentation"):
        rmtree(config.parent / name, ignore_errors=True)
    release.magneton("plan", config, "--run-id", "samples")
    for lease in config.parent.glob("*/lease"):
        lease.unlink()
    return ran(release, config)


def least(runs: Iterable[Ran]) -> Ran:
    """The least of each figure; the attempt is the last one's."""
    every = list(runs)
    work_s = {stage: min(r.work_s[stage] for r in every) for stage in every[-1].work_s}
    peak = {stage: min(r.peak_bytes[stage] for r in every) for stage in every[-1].peak_bytes}
    cpu_s = min(r.cpu_s for r in every)
    return Ran(every[-1].attempt, cpu_s, work_s, every[-1].tasks, peak)


def _of(attempt: Path, cpu_s: float) -> Ran:
    work_s: dict[str, float] = {}
    tasks: dict[str, int] = {}
    peaks: dict[str, int] = {}
    for result in results.read(AttemptPaths(attempt)).values():
        stage: Any = result.get("stage")
        if stage and result.get("cpu_s") is not None:
            work_s[stage] = work_s.get(stage, 0.0) + result["cpu_s"]
            tasks[stage] = tasks.get(stage, 0) + 1
            peaks[stage] = max(peaks.get(stage, 0), result.get("peak_bytes", 0))
    return Ran(attempt, cpu_s, work_s, tasks, peaks)
