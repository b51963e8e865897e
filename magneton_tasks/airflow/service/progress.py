"""What a run in process tells on the terminal: Airflow's listener of task states."""

from __future__ import annotations

import time
from typing import Any

from airflow.listeners import hookimpl

from magneton_tasks.base.units import human_time


class Progress:
    """Prints a heading for each stage that begins, and a line for each of its tasks that ends."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = 0.0

    @hookimpl
    def on_task_instance_running(self, previous_state: Any, task_instance: Any) -> None:
        self._began = time.monotonic()
        stage = task_instance.task_id
        if stage != self._stage and not stage.startswith("batches."):
            self._stage = stage
            print(f"  {stage}", flush=True)

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        if not task_instance.task_id.startswith("batches."):
            self._end(task_instance, "done")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        self._end(task_instance, "FAILED")
        print(f"    {error}", flush=True)

    def _end(self, task_instance: Any, how: str) -> None:
        name = getattr(task_instance, "rendered_map_index", None)
        took = human_time(time.monotonic() - self._began)
        print(f"    {f'{name}, ' if name else ''}{how} in {took}", flush=True)
