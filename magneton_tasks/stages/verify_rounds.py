"""What verify checks between blocks and cells of the exact method: faces, rounds, pool and cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from magneton_tasks.base.units import several
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.stages import completeness, cut_figures
from magneton_tasks.work import threshold_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import VolumeStates
from magneton_tasks.work.validity import pool_key, why_stale


def check(
    attempt: Attempt, segments: Mapping[int, Record], add: Callable[[str], None]
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
    found = completeness.require(attempt, chain)
    pool = attempt.require("pool", {0})[0]
    if why_stale("pool", pool, states.pool_expected):
        add("the pool was made of other rounds, or at another threshold, than those there are now")
        attempt.invalidate("pool", {0: "made of other rounds"})
    cuts = attempt.require("cut", range(len(chain.steps[0].plan.groups)))
    other = [k for k, r in cuts.items() if why_stale("cut", r, pool_key(pool))]
    if other:
        add(
            f"{several(len(other), 'group')} cut of another pool: {other[0]}{', ...' if len(other) > 1 else ''}"
        )
        attempt.invalidate("cut", dict.fromkeys(other, "cut of another pool"))
    threshold = threshold_of.pool(attempt.plan, pool).number
    problems = list(completeness.cut_differences(found, chain.steps[0].plan, cuts, pool, threshold))
    for problem in problems:
        add(problem)
    figures = cut_figures.of_volume(cuts, attempt.plan.geometry.box.voxels)
    if not problems and not other:
        cut_figures.report(attempt, figures)
    left_out = sum(record.info["left_out"] for record in cuts.values())
    counts = {name: figures[name] for name in ("objects", "joins")}
    return pool, counts | {"left_out_vox": left_out}
