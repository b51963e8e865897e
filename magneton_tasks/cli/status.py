"""``magneton status``: from the records of the latest attempt."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from magneton_tasks import files, lease
from magneton_tasks.cli.summary import latest_attempt
from magneton_tasks.manifest import KeyState
from magneton_tasks.paths import MAPPED
from magneton_tasks.stages.attempt import Attempt
from magneton_tasks.units import human_time


@dataclass
class StageStatus:
    """Counts of one stage; ``left_s`` is None where nothing has been done yet."""

    stage: str
    total: int
    done: int = 0
    empty: int = 0
    running: int = 0
    failed: int = 0
    missing: int = 0
    voxels_per_s: float | None = None
    left_s: float | None = None
    failures: list[dict[str, Any]] = field(default_factory=list)


def collect(attempt: Attempt) -> list[StageStatus]:
    """The state of each stage of an attempt."""
    alive = _is_alive(attempt)
    geometry = attempt.plan.geometry
    totals = {
        "segment": len(geometry.grid),
        "count": len(geometry.grid),
        "pool": 1,
        "apply": len(geometry.cells),
        "downsample": len(geometry.coarse_cells or ()),
    }
    order = (*MAPPED[:2], "pool", *MAPPED[2:])
    found = [_stage(attempt, s, totals[s], alive) for s in order if totals[s]]
    return [*found, _verify(attempt)]


def _stage(attempt: Attempt, stage: str, total: int, alive: bool) -> StageStatus:
    status = StageStatus(stage, total)
    worked: list[KeyState] = []
    for key, state in attempt.manifest(stage).read().items():
        if key >= total:
            continue
        kind = _kind(attempt, stage, state, alive)
        setattr(status, kind, getattr(status, kind) + 1)
        if kind in ("done", "empty") and state.time >= attempt.plan.created:
            worked.append(state)
        elif kind == "failed":
            info = state.last.info
            status.failures.append(
                {
                    "key": key,
                    **{k: info[k] for k in ("exit_code", "cause", "hint", "log") if k in info},
                }
            )
    status.missing = total - status.done - status.empty - status.running - status.failed
    if len(worked) > 1:
        times = sorted(s.time for s in worked)
        first = attempt.plan.created if stage == "segment" else times[0]
        elapsed = max(times[-1] - first, 1e-3)
        status.voxels_per_s = len(worked) * attempt.plan.geometry.box.voxels / total / elapsed
        status.left_s = (status.missing + status.running) * elapsed / len(worked)
    return status


def _kind(attempt: Attempt, stage: str, state: KeyState, alive: bool) -> str:
    if state.is_valid and not (attempt.plan.restart and not attempt.counts(stage, state.valid)):
        return state.state
    if state.state == "failed":
        return "failed"
    if state.state == "started":
        return "running" if alive else "missing"
    return "missing"


def _verify(attempt: Attempt) -> StageStatus:
    status = StageStatus("verify", 1)
    path = attempt.paths.result("verify")
    if files.stat_size(path) is None:
        status.missing = 1
        return status
    with files.open_read(path) as file:
        result = json.loads(file.read())
    status.failures = [{"key": 0, **f} for f in result.get("failures", ())]
    status.failed, status.done = (1, 0) if status.failures else (0, 1)
    return status


def _is_alive(attempt: Attempt) -> bool:
    held = lease.look(attempt.work.work)
    return (
        held is not None
        and held[0].run == attempt.plan.run
        and not held[0].is_dead
        and held[1] < lease.STALE_S
    )


def show(config: Path, partition: str | None, as_json: bool) -> None:
    """Print the status of the latest attempt."""
    attempt = Attempt.open(latest_attempt(config, partition).root)
    stages = collect(attempt)
    if as_json:
        plan = attempt.plan
        click.echo(
            json.dumps(
                {
                    "run": plan.run,
                    "attempt": plan.attempt,
                    "directory": str(attempt.paths.root),
                    "alive": _is_alive(attempt),
                    "stages": [asdict(s) for s in stages],
                }
            )
        )
        return
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.plan.created))
    click.echo(
        f"run {attempt.plan.run}, attempt {attempt.plan.attempt}, planned {began}{', working' if _is_alive(attempt) else ''}"
    )
    click.echo(
        f"{'stage':<11}{'done':>9}{'running':>9}{'failed':>9}{'missing':>9}{'empty':>9}{'total':>9}   speed, time left"
    )
    for s in stages:
        speed = "" if s.voxels_per_s is None else f"{s.voxels_per_s / 1e6:.2f} Mvoxel/s"
        left = "" if not s.left_s else f", {human_time(s.left_s)} left"
        click.echo(
            f"{s.stage:<11}{s.done:>9,}{s.running:>9,}{s.failed:>9,}{s.missing:>9,}{s.empty:>9,}{s.total:>9,}   {speed}{left}"
        )
    for s in stages:
        for failure in s.failures[:20]:
            click.echo(f"{s.stage} {failure['key']}: {failure.get('cause')}")
            for name in ("hint", "log"):
                if failure.get(name):
                    click.echo(f"  {'what to do' if name == 'hint' else 'log'}: {failure[name]}")
