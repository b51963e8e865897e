"""What helps a stage that takes more memory than it may have; nothing that would make it worse.

What lowers one stage's memory may raise another's: smaller blocks have more faces, and rounds take
more. So each stage has advice of its own. Each way carries an example, by which tests hold it
against the projection, or against what the kernels do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.base.units import human_bytes
from magneton_tasks.base.worker_env import allowed_memory
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.runner_names import RunnerName
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.errors import ConfigError, OutOfMemoryError
from magneton_tasks.plan.geometry import make_geometry
from magneton_tasks.plan.memory import writing_memory
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import OF_GROUPS, WRITING
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners import this_machine
from magneton_tasks.runners.registry import RUNNERS
from magneton_tasks.runners.resources import USABLE
from magneton_tasks.work.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Way:
    """One way to lower what a stage takes.

    Attributes
    ----------
    text
        A clause that tells people to do it.
    sets
        An example of it: values by dotted key.
    """

    text: str
    sets: Mapping[str, Any]


def advice(config: RunConfig, stage: str, plan: Plan | None = None) -> str:
    """What to do about a stage that ran out of memory.

    Parameters
    ----------
    plan
        Of the attempt; None: before there's one.
    """
    volume = plan.volume if plan is not None else None
    return "; or ".join([more_memory(config), *(w.text for w in ways(config, stage, volume))])


def more_memory(config: RunConfig, runner: RunnerName | None = None) -> str:
    """How a worker gets more of it; ``runner`` None: the run's."""
    runner = runner or config.runner.default
    worker = config.local if runner == "local" else config.worker
    given = worker.largest_memory
    if given and (runner != "local" or given < this_machine.memory_bytes() * USABLE):
        return f"raise {worker.MEMORY_KEY}"
    return RUNNERS[runner].more_memory


def ways(config: RunConfig, stage: str, volume: VolumeFacts | None) -> Iterator[Way]:
    """Ways other than more memory."""
    half = [s // 2 or 1 for s in config.block.size]
    is_exact = config.method == "exact"
    if stage == "segment":
        yield Way("take a smaller block.size", {"block.size": half})
        function = config.segment.merge_function
        if not is_exact and parse_scoring(function).kind == "histogram":
            text = "merge_function mean takes a fifth of the memory"
            yield Way(text, {"segment.merge_function": "mean"})
    elif stage == "count" or (is_exact and (stage == "faces" or stage in OF_GROUPS)):
        yield Way("take a smaller block.size", {"block.size": half})
        if is_exact and config.exact.advanced.t_high > _LEAST_OPEN_T_HIGH:
            text = (
                f"exact.advanced.t_high {_LEAST_OPEN_T_HIGH} leaves less open (the result changes)"
            )
            yield Way(text, {"exact.advanced.t_high": _LEAST_OPEN_T_HIGH})
    elif stage == "pool" and not is_exact:
        text = "lower segment.threshold, which merges more inside the blocks (the result changes)"
        yield Way(text, {"segment.threshold": (config.segment.threshold or USUAL_THRESHOLD) / 2})
    elif stage in WRITING and volume is not None:
        yield from _smaller_cells(config, stage, volume)


#: 255 leaves half as much open as 256, or less: on mouse cortex .95 edges per face voxel and 2.4.
_LEAST_OPEN_T_HIGH = 255
#: What advice leaves of a projection, at most: who follows it would be disappointed else.
_WORTH = 0.95


def _smaller_cells(config: RunConfig, stage: str, volume: VolumeFacts) -> Iterator[Way]:
    """Fewer mips and smaller chunks, where they lower what a cell takes: not always do they."""
    worth = _WORTH * _writing_bytes(config, volume, stage)
    for mips in range(config.apply.mips - 1, -1, -1):
        if _writing_bytes(_with_apply(config, mips=mips), volume, stage) < worth:
            yield Way(f"take at most {mips} apply.mips", {"apply.mips": mips})
            break
    chunk = [c // 2 for c in config.apply.chunk_size]
    if min(chunk) >= 1:
        smaller = _with_apply(config, chunk_size=tuple(chunk))
        if _writing_bytes(smaller, volume, stage) < worth:
            yield Way(f"take apply.chunk_size {chunk}", {"apply.chunk_size": chunk})


def _with_apply(config: RunConfig, **values: Any) -> RunConfig:
    return config.model_copy(update={"apply": config.apply.model_copy(update=values)})


def _writing_bytes(config: RunConfig, volume: VolumeFacts, stage: str) -> int:
    memory = writing_memory(config, make_geometry(config, volume), 0).get(stage)
    return 0 if memory is None else memory.bound  # all mips are apply's


def require_memory(attempt: Attempt, stage: str, need: int, what: str) -> None:
    """Refuse work that is known to need more than the runner allows.

    Raises
    ------
    OutOfMemoryError
        The runner can try again with more memory.
    ConfigError
        It can't.
    """
    limit = attempt.allowed_memory
    if limit is None or need <= limit:
        return
    kind = ConfigError if allowed_memory() is None else OutOfMemoryError
    raise kind(
        f"{what} may need {human_bytes(need)}, more than this worker may take ({human_bytes(limit)})",
        advice(attempt.config, stage, attempt.plan),
    )
