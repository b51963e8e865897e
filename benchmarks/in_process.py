"""All stages of a volume one after the other, without a process each; and what their records say."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import OF_GROUPS, stages_of
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.paths import AttemptPaths


def stages_in_one_process(config: Path) -> tuple[dict[str, float], str]:
    """CPU seconds of each stage (children included), and what was printed."""
    from magneton_tasks.cli.run.stages import run_single

    printed, seconds = io.StringIO(), dict[str, float]()
    began = _spent()

    def after(stage: str) -> None:
        nonlocal began
        seconds[stage] = _spent() - began
        began = _spent()

    with contextlib.redirect_stdout(printed):
        paths = stages(config, after)
        run_single("release", paths.root)
    return seconds, printed.getvalue()


def stages(
    config: Path, after: Callable[[str], None] = lambda _: None, last: str = "verify"
) -> AttemptPaths:
    """Run the stages of a volume up to ``last``; ``after`` is told of each that had something to do."""
    from magneton_tasks.cli.run import stages as commands
    from magneton_tasks.stages.planning import draft

    plan, paths, _ = draft.run(PlanRequest(config, "whole", {}))
    after("plan")
    order = stages_of(plan.geometry.method)
    for stage in order[: order.index(last) + 1]:
        if stage in ("pool", "verify"):
            codes = [commands.run_single(stage, paths.root)]
        else:
            numbers = range(_batches(plan, paths, stage))
            codes = [commands.run_mapped(stage, paths.root, number, None) for number in numbers]
        if any(codes):
            raise RuntimeError(f"{stage} ended with {codes}")
        if codes:
            after(stage)
    return paths


def _batches(plan: Plan, paths: AttemptPaths, stage: str) -> int:
    from magneton_tasks.stages.planning import group_work
    from magneton_tasks.work.attempt import Attempt

    if stage in OF_GROUPS:
        return group_work.prepare(Attempt.open(paths.root), stage).batches
    work = plan.work.get(stage)
    return work.batches if work is not None else 0


def done(work: Path, stage: str) -> list[dict[str, Any]]:
    """Records of what a stage has done; ``stage``: its folder, as a pattern."""
    lines = [json.loads(li) for p in work.glob(f"{stage}/records/*.jsonl") for li in p.open()]
    return [r for r in lines if r["state"] == "done"]


def _spent() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system
