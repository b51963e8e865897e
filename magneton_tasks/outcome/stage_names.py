"""What a stage is called where several thresholds stand side by side: ``apply 0.3``, and back."""

from __future__ import annotations

from magneton_tasks.plan.stage_table import OWN_STAGES
from magneton_tasks.work.attempt import Attempt


def name_of(attempt: Attempt, stage: str) -> str:
    """The stage, with its threshold where that is one of several.

    Parameters
    ----------
    attempt
        At its threshold (`Attempt.each`).
    """
    return f"{stage} {attempt.paths.cut}" if attempt.paths.cut and stage in OWN_STAGES else stage


def found(attempt: Attempt, name: str) -> tuple[Attempt, str]:
    """The attempt at the threshold that a name of `name_of` tells, and the stage.

    Raises
    ------
    KeyError
        There's no such threshold.
    """
    stage, _, cut = name.partition(" ")
    for each in attempt.each():
        if cut in ("", each.paths.cut):
            return each, stage
    raise KeyError(name)
