"""Finds the code of a stage. A new stage is an entry of `plan.stage_table` and its file beside this one.

A process works one stage: it imports that stage's file and what it needs, and no other's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from magneton_tasks.errors import UsageError
from magneton_tasks.plan.stage_table import Method, facts, stages_of
from magneton_tasks.work.job import Job

#: Works a share of a stage, or the whole of one that isn't mapped; returns the exit code.
Run = Callable[[Job], int]


def run_of(stage: str, method: Method) -> Run:
    """What does a stage.

    Raises
    ------
    UsageError
        The method has no such stage.
    """
    file = facts(stage).files.get(method)
    if file is None:
        raise UsageError(
            f"a run by method: {method} has no stage {stage}",
            f"its stages are {', '.join(stages_of(method))}",
        )
    return cast(Run, import_module(f"{__package__}.{file}").run)
