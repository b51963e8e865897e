"""Slots of the Airflow pool: as many tasks as there are cores, fewer where they need memory."""

from __future__ import annotations

import pytest

from magneton_tasks.airflow import pools
from magneton_tasks.runners import this_machine

GIB = 2**30


def machine(monkeypatch: pytest.MonkeyPatch, gib: float, cores: int) -> None:
    monkeypatch.setattr(this_machine, "memory_bytes", lambda: int(gib * GIB))
    monkeypatch.setattr(this_machine, "cores", lambda: cores)


@pytest.mark.parametrize(
    ("gib", "cores", "task_gib", "at_once"),
    [
        (23.4, 2, 1, 2),  # cores are the limit, also where they don't divide the memory
        (23.4, 8, 1, 8),
        (64, 16, 3.5, 16),
        (64, 16, 8, 8),  # memory is
        (64, 16, 40, 1),
        (
            64,
            16,
            500,
            1,
        ),  # more than the machine has: plan refuses it; a task must not wait for ever
        (3, 8, 0.5, 8),  # less than a GiB a core
    ],
)
def test_tasks_at_once(
    monkeypatch: pytest.MonkeyPatch, gib: float, cores: int, task_gib: float, at_once: int
) -> None:
    machine(monkeypatch, gib, cores)
    assert pools.machine_slots() // pools.task_slots(int(task_gib * GIB)) == at_once
