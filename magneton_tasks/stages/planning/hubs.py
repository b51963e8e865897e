"""A region can't be split: one with more neighbours than a task may hold is refused, before it is read."""

from __future__ import annotations

from collections.abc import Iterable

from magneton_tasks.base.units import human_bytes, several
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import cost_exact
from magneton_tasks.runners import memory_advice, resources, this_machine
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record


def refuse(attempt: Attempt, stage: str, records: Iterable[Record], names: int) -> None:
    """Refuse a round whose largest region doesn't fit the largest worker.

    Parameters
    ----------
    stage
        The round that would read it.
    records
        Of the groups of the round before.
    names
        As of `cost_exact.round_bytes`.

    Raises
    ------
    ConfigError
        Says how large it is, where, and what to do.
    """
    hubs = (record.info["hub"] for record in records if "hub" in record.info)
    edges, voxels, block = max(hubs, default=[0, 0, 0])
    need = cost_exact.round_bytes(edges, names)
    most = attempt.config.worker.largest_memory
    most = most or int(this_machine.memory_bytes() * resources.USABLE)
    if need <= most:
        return
    core = attempt.plan.geometry.grid.core(block)
    raise ConfigError(
        f"{stage}: a region of {several(voxels, 'voxel')} around block {block} (voxels {core.begin} to "
        f"{core.end}) touches {several(edges, 'other')}, which takes {human_bytes(need)} in one task; a worker "
        f"may take {human_bytes(most)}",
        "leave it out with a mask (mask.path); or raise exact.advanced.t_high, so that less floods into "
        f"one region (the result changes); or {memory_advice.more_memory(attempt.config)}",
    )
