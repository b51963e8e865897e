"""The Airflow pool that caps what runs on this machine at once, by memory and by cores.

A slot is a GiB. A task takes as many slots as it may need memory, and at least its core's share of
the machine's memory, so that no more tasks run than there are cores.

``python -m magneton_tasks.airflow.pools`` makes the pool; `make up` does so by itself. Airflow
doesn't start tasks whose pool isn't there.
"""

from __future__ import annotations

import os

import psutil

from magneton_tasks import projection
from magneton_tasks.config import RunConfig

NAME = "magneton_local"
_GIB = 2**30


def machine_slots() -> int:
    """Slots of this machine's pool: its memory in GiB, rounded down."""
    return max(int(psutil.virtual_memory().total // _GIB), 1)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def task_slots(memory_bytes: int) -> int:
    """Slots of a task with one worker process; never more than the pool has."""
    total = machine_slots()
    return min(max(-(-memory_bytes // _GIB), -(-total // cores())), total)


def stage_slots(config: RunConfig, stage: str) -> int:
    """Slots of a stage's tasks, from the config alone: at parse nothing is known of the volume."""
    if config.local.memory is not None:
        return task_slots(config.local.memory)
    if stage != "segment":
        return task_slots(0)
    z, y, x = config.block.size
    segment = config.segment
    bound = projection.segment_bound_bytes(z * y * x, segment.merge_function, segment.supervoxels)
    return task_slots(bound)


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
