"""The stages: what each is called, works on and belongs to, in one table.

A new stage is an entry of `TABLE` and its own files in stages/. All else asks this table: the
command line, DAGs, plan, records, status, block maps. Functions hang on in `stages.dispatch`, by the
names of files that stand here, so that a DAG parse imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from magneton_tasks.base.methods import Choice

if TYPE_CHECKING:  # weight: pydantic
    from magneton_tasks.config.model import RunConfig

Method = Literal["exact", "overlap"]
#: What a stage is mapped over. Objects: cells of the mip of their section, and shards of objects.
Grid = Literal["blocks", "groups", "cells", "coarse cells", "object cells", "object shards"]
#: What is made of objects: a section of the config, and a folder of the output.
Section = Literal["mesh", "skeleton"]
SECTIONS: tuple[Section, ...] = get_args(Section)

#: Rounds of the exact method that are stages of their own: as many as a DAG has slots. The last one
#: goes on with further rounds if there is more to do.
ROUND_SLOTS = 8


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
        Groups are known only once the stages before are done (`work.round_plan`).
    choice
        What a run may be limited to that includes it; None: it runs always.
    writes
        Whether it writes files of the output.
    round
        Which round of the exact method it is, from 0.
    is_of_each
        Whether each of several thresholds is a task of its own: they work side by side. The number of
        the threshold is that of its batch.
    section
        Of the config: where that is null, there is no such stage.
    """

    name: str
    about: str
    noun: str
    files: Mapping[Method, str]
    grid: Grid | None = None
    choice: Choice | None = None
    writes: bool = False
    round: int | None = None
    is_of_each: bool = False
    section: Section | None = None


def _both(file: str) -> dict[Method, str]:
    return {"exact": file, "overlap": file}


def _of_objects(section: Section, made: str) -> tuple[Stage, Stage]:
    return (
        Stage(
            section,
            f"Make {made} of the objects of a batch of cells, piece by piece.",
            "cell",
            _both("objects.cells"),
            "object cells",
            "apply",
            section=section,
        ),
        Stage(
            f"{section}_shards",
            f"Join the pieces of {made}, and write a batch of shards of them.",
            "shard",
            _both("objects.shards"),
            "object shards",
            "apply",
            writes=True,
            section=section,
        ),
    )


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
        "Count overlaps of neighbouring blocks (method: overlap).",
        "block",
        {"overlap": "count_overlap"},
        "blocks",
        "pool",
    ),
    Stage(
        "faces",
        "Sum up contacts over faces of blocks (method: exact).",
        "block",
        {"exact": "faces"},
        "blocks",
        "pool",
    ),
    *(
        Stage(
            f"round{number}",
            f"Merge regions of groups of blocks, round {number} (method: exact).",
            "group",
            {"exact": "round"},
            "groups",
            "pool",
            round=number,
        )
        for number in range(ROUND_SLOTS)
    ),
    Stage(
        "pool",
        "Give the labels of all blocks global ids, or fix the cut.",
        "table",
        {"exact": "pool_exact", "overlap": "pool_overlap"},
        choice="pool",
    ),
    Stage(
        "cut",
        "Give supervoxels their global ids (method: exact).",
        "group",
        {"exact": "cut"},
        "groups",
        "pool",
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
    *_of_objects("mesh", "meshes"),
    *_of_objects("skeleton", "skeletons"),
    Stage(
        "verify", "Prove that the result is complete.", "volume", _both("verify"), is_of_each=True
    ),
)
#: the one small job that goes before a run's first array: no stage of the flow
PROBE = Stage(
    "probe", "Check that the stages of a run will work on this machine.", "machine", _both("probe")
)

STAGES = tuple(stage.name for stage in TABLE)
#: the rounds, a stage each; a volume that doesn't need one has nothing there
ROUNDS = tuple(stage.name for stage in TABLE if stage.round is not None)
#: stages that are mapped over batches
MAPPED = tuple(stage.name for stage in TABLE if stage.grid)
#: mapped stages whose groups are known only once the stages before them are done
OF_GROUPS = tuple(stage.name for stage in TABLE if stage.grid == "groups")
#: stages whose results a new pool table makes stale, in their order
AFTER_POOL = tuple(s for s in MAPPED if STAGES.index(s) > STAGES.index("pool"))
#: stages that each of several thresholds of a run has for itself
OWN_STAGES = (*STAGES[STAGES.index("pool") :],)
#: stages without blocks or cells, of which each of several thresholds is a task of its own
OF_EACH = tuple(stage.name for stage in TABLE if stage.is_of_each)
#: stages that write files of the output
WRITING = tuple(stage.name for stage in TABLE if stage.writes)
#: stages whose result lies where the one before lay: a try that didn't end may have left half of it
IN_PLACE = (*WRITING, *(stage.name for stage in TABLE if stage.grid == "object cells"))
#: what a run may be limited to, and which of these each stage belongs to
CHOICES: tuple[Choice, ...] = ("segment", "pool", "apply")
CHOICE_OF = {stage.name: stage.choice for stage in TABLE if stage.choice}

_FACTS = {stage.name: stage for stage in (PROBE, *TABLE)}


def facts(stage: str) -> Stage:
    """The table's entry of a stage; of a round after the last slot: that of the slot."""
    number = round_of(stage)
    return _FACTS[stage if number is None else f"round{min(number, ROUND_SLOTS - 1)}"]


def stages_of(method: Method) -> list[str]:
    """The stages that a method has, in the order of the flow."""
    return [stage.name for stage in TABLE if method in stage.files]


def stages_asked(config: RunConfig) -> list[str]:
    """Those that a config asks for: without what a section that is null would make."""
    return [s for s in stages_of(config.method) if is_asked(config, facts(s).section)]


def is_asked(config: RunConfig, section: Section | None) -> bool:
    """Whether a config has a section, so that its stages have something to do."""
    return section is None or getattr(config, section) is not None


def round_of(stage: str) -> int | None:
    """The number of a round; None for any other stage."""
    number = stage.removeprefix("round")
    return int(number) if number != stage and number.isdigit() else None


def noun_of(stage: str) -> str:
    """What a stage works: blocks, groups of blocks, cells, or the one table of pool."""
    return facts(stage).noun
