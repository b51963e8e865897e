"""The Airflow pool that caps what runs on this machine at once, by memory and by cores.

A slot is a GiB. A task takes as many slots as it may need memory, and at least its core's share of
the machine's memory, so that no more tasks run than there are cores.

``python -m magneton_tasks.airflow.service.pools`` makes the pool; `make up` does so by itself. Airflow
doesn't start tasks whose pool isn't there.
"""

from __future__ import annotations

from magneton_tasks.airflow.service.at_once import services_bytes
from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan.memory import usual_memory
from magneton_tasks.plan.stage_table import OF_GROUPS
from magneton_tasks.runners import this_machine

NAME = "magneton_local"
_GIB = 2**30


def machine_slots() -> int:
    """Slots of this machine's pool: the GiB that Airflow's services leave, a multiple of the cores.

    Where a core has less than a GiB, they are as many as there are GiB, and some cores have no task.
    """
    cores = this_machine.cores()
    left = max(int((this_machine.memory_bytes() - services_bytes()) // _GIB), 1)
    return left - left % cores if left >= cores else left


def task_slots(memory_bytes: int) -> int:
    """Slots of a task with one worker process; never more than the pool has."""
    total = machine_slots()
    return min(max(ceil_div(memory_bytes, _GIB), total // this_machine.cores(), 1), total)


def stage_slots(config: RunConfig, stage: str, runner: str) -> int:
    """Slots of a stage's tasks, from the config alone: at parse nothing is known of the volume."""
    memory = config.docker.memory if runner == "docker" else config.local.memory
    return task_slots(memory or _stage_memory(config, stage))


def _stage_memory(config: RunConfig, stage: str) -> int:
    """Bound of one worker in bytes, as plan projects it for an ordinary volume.

    Groups are as large as what a worker of the other stages may take.
    """
    projected = usual_memory(config)
    if stage in OF_GROUPS:
        return max(memory.bound for memory in projected.values())
    return projected[stage].bound if stage in projected else 0


def main() -> None:
    # Airflow's models take seconds to import, and only this command needs them.
    from airflow.models.pool import Pool

    Pool.create_or_update_pool(
        NAME,
        slots=machine_slots(),
        description="Magneton's local work: a slot is a GiB, and each core has its share of them",
        include_deferred=False,
    )
    print(f"Airflow pool {NAME}: {machine_slots()} slots")


if __name__ == "__main__":
    main()
