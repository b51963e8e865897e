"""The memory that a worker may take: what is chosen and refused because of it, and what helps."""

from __future__ import annotations

from collections.abc import Mapping

from magneton_tasks.base import units
from magneton_tasks.base.grid import Ranges
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners import memory_advice, this_machine
from magneton_tasks.runners.registry import Kind, runner_of


def limit_of_worker(
    config: RunConfig,
    memory: Mapping[str, Memory],
    todo: Mapping[str, Ranges],
    machine: int,
    densest: tuple[float, float] | None,
    volume: VolumeFacts,
) -> int:
    """Memory limit of one worker, in bytes; refuses what won't fit."""
    needed = {s: m.bound for s, m in memory.items() if todo.get(s)}
    stage = max(needed, key=lambda s: needed[s], default=None)
    limit = config.worker.memory or min(
        max(needed.values(), default=memory["segment"].bound), machine
    )
    largest = config.worker.largest_memory or machine
    if stage is not None and needed[stage] > largest:
        given = (
            f"{config.worker.MEMORY_KEY} ({units.human_bytes(largest)})"
            if config.worker.largest_memory
            else f"{_has_memory(config)} ({units.human_bytes(machine)})"
        )
        raise ConfigError(
            f"{stage} may need {units.human_bytes(needed[stage])} per worker (expected: {units.human_bytes(memory[stage].expected)}), more than {given}",
            _memory_hint(config, stage, largest, densest, volume),
        )
    return limit


def _has_memory(config: RunConfig) -> str:
    is_here = runner_of(config).kind is not Kind.ARRAYS
    return this_machine.memory().given_by if is_here else "a node has"


def _memory_hint(
    config: RunConfig,
    stage: str,
    limit: int,
    densest: tuple[float, float] | None,
    volume: VolumeFacts,
) -> str:
    """What to do about a stage that may need more than there is."""
    others = memory_advice.ways(config, stage, volume)
    found = [way.text for way in others if "block.size" not in way.sets or stage != "segment"]
    if stage == "segment":
        step = next(
            (
                s
                for s in range(min(config.block.size) - 32, 31, -32)
                if _bound(config, s, densest) <= limit
            ),
            None,
        )
        found[:0] = [f"a block.size of about [{step}, {step}, {step}] fits"] if step else []
    return "; or ".join([*found, memory_advice.more_memory(config)])


def _bound(config: RunConfig, edge: int, densest: tuple[float, float] | None) -> int:
    """Bytes that segmenting a block of this edge never exceeds."""
    if config.method == "exact":
        return cost_exact.block_bound_bytes(edge**3, densest)
    return cost_overlap.segment_bound_bytes(
        edge**3, config.segment.merge_function, config.segment.supervoxels, densest
    )
