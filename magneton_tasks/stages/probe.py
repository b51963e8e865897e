"""Stage probe: one small job checks a compute node before thousands start there.

What would fail every job fails this one, and says so once: paths that aren't there or can't be
written, an input that can't be reached, another version, compiled code that is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.base.location import locate
from magneton_tasks.errors import ConfigError, worst
from magneton_tasks.formats.metadata import read_input
from magneton_tasks.kernels.compiled import archives as kernel_archives
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners.warming import ensure_warm
from magneton_tasks.stages.loop import explain, failure_of, finish, say
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Failure


def run(job: Job) -> int:
    """Check everything, so that one look tells all that is wrong; returns the exit code."""
    attempt = job.attempt
    began, failures = time.time(), list[Failure]()
    for what, check in _checks(attempt):
        try:
            check()
            say(f"probe {what}: fine")
        except Exception as raised:
            error = explain(raised)
            say(f"probe {what}: FAILED ({error.exit_code}): {error}")
            failures.append({"key": None, **failure_of(error)})
    warm = kernel_archives.is_warm() or (not failures and ensure_warm(say))
    result: dict[str, Any] = {
        "stage": "probe", "version": __version__, "host": files.host_name(), "cpu": cpu_model(),
        "warm": warm, "seconds": round(time.time() - began, 3), "failures": failures,
    }  # fmt: skip
    finish(attempt, "probe", result)
    return worst(f["exit_code"] for f in failures)


def _checks(attempt: Attempt) -> Iterator[tuple[str, Callable[[], None]]]:
    config, section = attempt.config, attempt.config.runner.default
    yield "config", lambda: _check_fingerprints(attempt)
    yield "work", lambda: _check_writable(attempt.work.work, "paths.work", section)
    yield "attempt", lambda: _check_writable(attempt.paths.root, "the attempt's directory", section)
    output = locate(config.paths.output).path
    if output is not None and "apply" in attempt.plan.stages:
        yield "output", lambda: _check_writable(output, "paths.output", section)
    if attempt.plan.work["segment"].todo:
        yield "input", lambda: _check_input(attempt)


def _check_fingerprints(attempt: Attempt) -> None:
    """The same results come out of this config here as where it was planned."""
    plan = attempt.plan
    if any(
        make_fingerprints(each.frozen_config(), plan.geometry) != each.plan.fingerprints
        for each in attempt.each()
    ):
        raise ConfigError(
            f"{files.host_name()} makes other fingerprints of {attempt.paths.config} than the plan holds",
            "install the same Magneton on the compute nodes as where runs are planned",
        )


def _check_writable(path: Path, name: str, section: str) -> None:
    """A file can be written, and read again, where results go; ``section``: of the runner."""
    probe = files.nearest_existing(path) / f".magneton-probe-{files.unique_suffix()}"
    try:
        probe.write_bytes(b"probe")
        probe.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{name} ({path}) can't be written on {files.host_name()} as user {os.getuid()}: {error.strerror}",
            f"give a path that the compute nodes can write (see {section}.path_map)",
        ) from error
    finally:
        probe.unlink(missing_ok=True)


def _check_input(attempt: Attempt) -> None:
    """The volume is there, and it's the one that was planned."""
    info = read_input(attempt.config)
    if VolumeFacts.of(info) != attempt.plan.volume:
        raise ConfigError(
            f"{info.url} on {files.host_name()} isn't the volume that was planned",
            f"is another file system mounted there? see {attempt.config.runner.default}.path_map",
        )


def cpu_model() -> str:
    """The CPU's name, as Linux tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"
