"""What verify checks between blocks and cells of the exact method: faces, rounds, pool and cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magneton_tasks.errors import NotVisibleError
from magneton_tasks.kernels.exact.map_threshold import LEVELS
from magneton_tasks.stages import completeness
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import VolumeStates
from magneton_tasks.work.validity import why_stale


def check(
    attempt: Attempt, segments: dict[int, Record], add: Callable[[str], None]
) -> tuple[Record, dict[str, Any]]:
    """The pool's record, and what there is; ``add`` gets what is wrong.

    Raises
    ------
    NotVisibleError
        Something isn't there at all.
    """
    states = VolumeStates(attempt, alive=True)
    chain = states.chain
    if chain.end is None:
        raise NotVisibleError(
            "faces and rounds aren't complete, or were made of other blocks than there are now",
            "rerun (in Airflow: clear the task plan): what is missing is made again",
        )
    completeness.require(attempt, chain)
    pool = attempt.require("pool", {0})[0]
    if why_stale("pool", pool, chain.end):
        add("the pool was made of other rounds than those there are now")
        attempt.invalidate("pool", {0: "made of other rounds"})
    cuts = attempt.require("cut", range(len(chain.steps[0].plan.groups)))
    other = [k for k, r in cuts.items() if why_stale("cut", r, pool.input)]
    if other:
        add(f"{len(other):,} groups were cut of another pool ({other[0]}, ...)")
        attempt.invalidate("cut", dict.fromkeys(other, "cut of another pool"))
    for problem in _sums(attempt, segments, cuts, pool):
        add(problem)
    objects, joins = (
        sum(record.info[name] for record in cuts.values()) for name in ("objects", "joins")
    )
    return pool, {"objects": objects, "joins": joins}


def _sums(
    attempt: Attempt,
    segments: dict[int, Record],
    cuts: dict[int, Record],
    pool: Record,
) -> list[str]:
    """What doesn't add up."""
    problems = []
    for name, what in (("n", "supervoxels"), ("voxels", "labelled voxels")):
        made = sum(record.info.get(name, 0) for record in segments.values())
        cut = sum(record.info.get(name, 0) for record in cuts.values())
        if made != cut:
            problems.append(f"blocks have {made:,} {what}, and {cut:,} were cut")
    merges, joins = pool.info["merges"], sum(record.info["joins"] for record in cuts.values())
    if attempt.plan.threshold.value in LEVELS and joins != merges:
        problems.append(
            f"{joins:,} supervoxels were cut into the objects of others, and {merges:,} merges make {merges:,} of them"
        )
    return problems
