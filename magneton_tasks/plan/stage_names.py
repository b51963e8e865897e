"""Names of the stages, in the order of the flow; standard library only."""

from __future__ import annotations

from magneton_tasks.plan.join_tree import MAX_LEVELS

#: the levels of join, a stage each; a method or a volume that doesn't need one has nothing there
JOINS = tuple(f"join{level}" for level in range(1, MAX_LEVELS + 1))
#: stages in the order of the flow, without plan
STAGES = ("segment", "count", *JOINS, "pool", "apply", "downsample", "verify")
#: stages that are mapped over batches
MAPPED = ("segment", "count", *JOINS, "apply", "downsample")
#: what a run may be limited to, and which of these each stage belongs to
CHOICES = ("segment", "pool", "apply")
CHOICE_OF = {
    "segment": "segment",
    "count": "pool",
    **dict.fromkeys(JOINS, "pool"),
    "pool": "pool",
    "apply": "apply",
    "downsample": "apply",
}


def join_level(stage: str) -> int | None:
    """The level of a join stage; None for any other stage."""
    return JOINS.index(stage) + 1 if stage in JOINS else None


def noun_of(stage: str) -> str:
    """What a mapped stage works: blocks, groups of blocks, or cells."""
    if join_level(stage):
        return "group"
    return "cell" if stage in ("apply", "downsample") else "block"
