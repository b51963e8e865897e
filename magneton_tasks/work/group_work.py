"""What an attempt has to do of a stage that works groups: of a round, or of cut.

Groups are known only once the stages before are done, so an attempt's plan can't hold them: whoever
runs the stages finds it out between two of them (`stages.planning.group_work`), and writes it down
here for the tasks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import OF_GROUPS, round_of
from magneton_tasks.work.paths import AttemptPaths


@dataclass(frozen=True, slots=True)
class GroupWork:
    """The work of one stage.

    Attributes
    ----------
    plan
        `round_plan.RoundPlan.digest` of the round; of cut: that of the last round.
    memory
        Of its largest group.
    """

    plan: str
    work: StagePlan
    memory: Memory


def is_late(stage: str) -> bool:
    """Whether a stage works groups, so that its work isn't in the plan; ``release`` and such don't."""
    return stage in OF_GROUPS or round_of(stage) is not None


def is_wanted(plan: Plan, stage: str) -> bool:
    """Whether an attempt needs a stage that works groups at all."""
    if "pool" not in plan.stages:
        return False
    return bool(plan.work["pool"].todo) or (stage == "cut" and bool(plan.work["cut"].todo))


def work_of(paths: AttemptPaths, plan: Plan, stage: str) -> StagePlan | None:
    """What an attempt has to do of a stage; None: nothing is known, or it isn't mapped."""
    found = known(paths, stage) if is_late(stage) else None
    return found.work if found is not None else plan.work.get(stage)


def memory_of(paths: AttemptPaths, plan: Plan, stage: str) -> Memory | None:
    """What one process of a stage is projected to take."""
    found = known(paths, stage) if is_late(stage) else None
    return found.memory if found is not None else plan.memory.get(stage)


def known(paths: AttemptPaths, stage: str) -> GroupWork | None:
    """What was found out; None: nobody has, yet."""
    return read(paths, stage, 0) if paths.groups_work(stage).is_file() else None


def write(paths: AttemptPaths, stage: str, found: GroupWork) -> None:
    """Write what is to do, over what was found out before.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    files.write_atomic(paths.groups_work(stage), json.dumps(asdict(found)).encode())


def read(paths: AttemptPaths, stage: str, wait_s: float) -> GroupWork:
    """What is to do.

    Raises
    ------
    NotVisibleError
        Nobody has found it out within ``wait_s``.
    BadDataError
        The file holds something else.
    """
    path = paths.groups_work(stage)
    files.await_file(path, None, wait_s)
    try:
        with files.open_read(path) as file:
            data = json_object(file.read())
        work = data["work"]
        work["todo"] = [(b, e) for b, e in work["todo"]]
        return GroupWork(data["plan"], StagePlan(**work), Memory(**data["memory"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadDataError(
            f"{path} doesn't say what {stage} has to do: {error}",
            "clear the task plan (or rerun) to plan it again",
        ) from error
