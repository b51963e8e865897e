"""The stages: what each is called, works on and belongs to, in one table.

A new stage is an entry of `TABLE` and its own files in stages/. All else asks this table: the
command line, DAGs, plan, records, status, block maps. Functions hang on in `stages.dispatch`, by the
names of files that stand here, so that a DAG parse imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from magneton_tasks.base.methods import Choice
from magneton_tasks.plan.join_tree import MAX_LEVELS

Method = Literal["exact", "overlap"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What is known of a stage without its code.

    Attributes
    ----------
    about
        What it does, for the command line's help.
    noun
        What it works: blocks, groups of blocks, cells, or one table.
    files
        By method: the file of stages/ whose ``run`` does it. A method that isn't there has no such
        stage.
    grid
        Whose parts are its batches (`plan.geometry.Geometry.stage_grid`); None: it isn't mapped.
    choice
        What a run may be limited to that includes it; None: it runs always.
    writes
        Whether it writes chunks of the output.
    level
        Of joins, from 1.
    """

    name: str
    about: str
    noun: str
    files: Mapping[Method, str]
    grid: Literal["blocks", "groups", "cells", "coarse cells"] | None = None
    choice: Choice | None = None
    writes: bool = False
    level: int | None = None


def _both(file: str) -> dict[Method, str]:
    return {"exact": file, "overlap": file}


#: in the order of the flow, without plan
TABLE = (
    Stage(
        "segment",
        "Segment a batch of blocks.",
        "block",
        {"exact": "segment_exact", "overlap": "segment_overlap"},
        "blocks",
        "segment",
    ),
    Stage(
        "count",
        "Count how the labels of neighbouring blocks overlap.",
        "block",
        {"exact": "count_exact", "overlap": "count_overlap"},
        "blocks",
        "pool",
    ),
    *(
        Stage(
            f"join{level}",
            f"Join a batch of groups of blocks, level {level} (method: exact).",
            "group",
            {"exact": "join"},
            "groups",
            "pool",
            level=level,
        )
        for level in range(1, MAX_LEVELS + 1)
    ),
    Stage(
        "pool",
        "Join the labels of all blocks and give them global ids.",
        "table",
        _both("pool"),
        choice="pool",
    ),
    Stage(
        "apply",
        "Write a batch of cells of the output.",
        "cell",
        _both("apply"),
        "cells",
        "apply",
        writes=True,
    ),
    Stage(
        "downsample",
        "Write the mips that do not fit into apply's cells.",
        "cell",
        _both("downsample"),
        "coarse cells",
        "apply",
        writes=True,
    ),
    Stage("verify", "Prove that the result is complete.", "volume", _both("verify")),
)
#: the one small job that goes before a run's first array: no stage of the flow
PROBE = Stage(
    "probe", "Check that the stages of a run will work on this machine.", "machine", _both("probe")
)

STAGES = tuple(stage.name for stage in TABLE)
#: the levels of join, a stage each; a method or a volume that doesn't need one has nothing there
JOINS = tuple(stage.name for stage in TABLE if stage.level)
#: stages that are mapped over batches
MAPPED = tuple(stage.name for stage in TABLE if stage.grid)
#: stages whose results a new pool table makes stale, in their order
AFTER_POOL = tuple(s for s in MAPPED if STAGES.index(s) > STAGES.index("pool"))
#: stages that write chunks of the output
WRITING = tuple(stage.name for stage in TABLE if stage.writes)
#: what a run may be limited to, and which of these each stage belongs to
CHOICES: tuple[Choice, ...] = ("segment", "pool", "apply")
CHOICE_OF = {stage.name: stage.choice for stage in TABLE if stage.choice}

_FACTS = {stage.name: stage for stage in (PROBE, *TABLE)}


def facts(stage: str) -> Stage:
    """The table's entry of a stage."""
    return _FACTS[stage]


def stages_of(method: Method) -> list[str]:
    """The stages that a method has, in the order of the flow."""
    return [stage.name for stage in TABLE if method in stage.files]


def join_level(stage: str) -> int | None:
    """The level of a join stage; None for any other stage."""
    return _FACTS[stage].level if stage in _FACTS else None


def noun_of(stage: str) -> str:
    """What a stage works: blocks, groups of blocks, cells, or the one table of pool."""
    return _FACTS[stage].noun
