"""What a run in process tells on the terminal: Airflow's listener of task states."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl

from magneton_tasks.base.signs import Signs
from magneton_tasks.base.units import human_time, several
from magneton_tasks.errors import MagnetonError
from magneton_tasks.outcome.attempt_summary import of_attempt
from magneton_tasks.plan.stage_table import MAPPED, noun_of
from magneton_tasks.work.attempt import Attempt


class Progress:
    """Says a heading for each stage that begins, a line for each of its tasks that ends, signs between."""

    def __init__(self, signs: Signs) -> None:
        self._say = signs.say
        self._stage = ""
        self._began = 0.0
        self._task: Any = None
        signs.doing = self._now

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self._began = time.monotonic()
        self._task = getattr(task_instance, "task", None)
        stage = task_instance.task_id
        if stage != self._stage and not stage.startswith("batches."):
            self._stage = stage
            self._say(f"  {stage}")

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        if not task_instance.task_id.startswith("batches."):
            self._end(task_instance, "done")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        self._end(task_instance, "FAILED")
        self._say(f"    {error}")

    def _end(self, task_instance: Any, how: str) -> None:
        name = getattr(task_instance, "rendered_map_index", None)
        took = human_time(time.monotonic() - self._began)
        standing = _standing(getattr(task_instance, "task", None))
        self._say(f"    {f'{name}, ' if name else ''}{how} in {took}{standing}")

    def _now(self, seconds: float) -> str:
        """What a sign says while a task works."""
        return f"    at work for {human_time(seconds)}{_standing(self._task)}"


def _standing(task: Any) -> str:
    """How far the stage of a task is; nothing of what isn't mapped."""
    stage, attempt = getattr(task, "stage", None), getattr(task, "attempt", None)
    if stage not in MAPPED or not isinstance(attempt, str):
        return ""
    with suppress(MagnetonError, OSError):  # the task's own end says what is wrong
        found = of_attempt(Attempt.open(Path(attempt)), stage, is_alive=True)
        if not found.total:  # a round whose groups aren't known yet
            return ""
        told = found.words(time.time(), is_alive=True)
        return (
            f"; {found.done:,} of {several(found.total, noun_of(stage))}{', ' * bool(told)}{told}"
        )
    return ""
