"""How many tasks of Airflow's are of use at once on this machine, and what Airflow itself takes of it."""

from __future__ import annotations

from magneton_tasks.runners import this_machine

#: Tasks that need no slot of the Airflow pool: they plan, submit, hand on and give back.
SHORT_TASKS = 4
#: The four services and their supervisor, in bytes, as measured: see docs/performance.md.
_SERVICES_BYTES = 1 * 2**30
#: A process of the scheduler's that runs tasks, or waits for one, in bytes, as measured.
_WORKER_BYTES = 24 * 2**20


def tasks_at_once() -> int:
    """Processes that the scheduler keeps for tasks: one per core for those of the pool, and some."""
    return this_machine.cores() + SHORT_TASKS


def services_bytes() -> int:
    """Memory that Airflow's services need beside the tasks."""
    return _SERVICES_BYTES + tasks_at_once() * _WORKER_BYTES
