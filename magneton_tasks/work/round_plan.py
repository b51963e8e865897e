"""The plan of one round: a file in the round's folder, made once by whoever comes first.

::

    rounds-<fingerprint>/<round>/plan-<digest>.json

Its name is a digest of what it was made from: the records that were read, and the plan of the round
before. While these are the same, all attempts take the plan over, whatever their memory, workers or
runner; other records make a plan with another name beside it. A plan's own digest is part of the
digests of its round's records, so what a task reads and writes is found through (plan, group) alone.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from magneton_tasks.base import exclusive, files
from magneton_tasks.base.grid import Ranges
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import NotVisibleError, TemporaryError
from magneton_tasks.plan.plan import digest
from magneton_tasks.plan.rounds import Groups

#: Of the files, part of their names: plans of another form are left alone, and others made.
_FORM = 2
#: A file system without hard links may show a plan half written for a moment, in seconds.
_WRITING_S = 10.0


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """How a round cuts the blocks into groups, and what for.

    Attributes
    ----------
    round
        From 0.
    groups
        Of this round.
    fine
        Of round 0: what the round sends is in slices by these.
    todo
        Groups that have something to do, as half-open ranges.
    budget
        Rows that a task may hold, of who made the plan.
    most_rows, all_rows
        Rows that the largest group, and all groups, read.
    read
        Digest of the records that it was made from.
    before
        `digest` of the plan of the round before; "" in round 0.
    """

    round: int
    groups: Groups
    fine: Groups
    todo: Ranges
    budget: int
    most_rows: int
    all_rows: int
    read: str
    before: str = ""

    @property
    def digest(self) -> str:
        """Of what decides the round's results: part of the digests of its records."""
        deciding = (self.round, self.groups.cuts, self.fine.cuts, self.todo)
        return digest(*deciding, self.read, self.before)

    @property
    def closes_all(self) -> bool:
        """Whether no round follows for certain: one group has no ghosts."""
        return len(self.groups) == 1

    def to_json(self) -> bytes:
        return json.dumps(asdict(self) | {"digest": self.digest}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> RoundPlan:
        """Back from `to_json`; ValueError if it isn't one."""
        told = json_object(text)
        try:
            data = {f.name: told[f.name] for f in fields(cls)}
            for name in ("groups", "fine"):
                z, y, x = (tuple(map(int, cuts)) for cuts in data[name]["cuts"])
                data[name] = Groups((z, y, x))
            data["todo"] = [(int(begin), int(end)) for begin, end in data["todo"]]
            found = cls(**data)
            if found.digest != told["digest"]:
                raise ValueError("its digest isn't that of what it holds")
        except (KeyError, TypeError) as error:
            raise ValueError(f"it isn't the plan of a round: {error!r}") from error
        return found


def take_over(rounds: Path, number: int, read: str, before: str) -> RoundPlan | None:
    """The plan of a round that was made from these records; None: there is none yet.

    It becomes the one that `chain` finds.

    Parameters
    ----------
    rounds
        ``rounds-<fingerprint>``.
    number
        Of the round.
    read, before
        As `RoundPlan` has them.

    Raises
    ------
    OutputError
        The file system failed.
    """
    path = _path(rounds, number, read, before)
    found = _read(path)
    if found is not None:
        with suppress(OSError):  # another user's, or read only
            os.utime(path)
    return found


def make(rounds: Path, plan: RoundPlan) -> RoundPlan:
    """Write a plan, unless one from the same records is there; returns the one that holds.

    Of several at once one wins, and all get the winner's. A file that holds no plan is moved aside.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    TemporaryError
        The plan is removed all the time.
    """
    path = _path(rounds, plan.round, plan.read, plan.before)
    for _ in range(3):
        if exclusive.create(path, plan.to_json()):
            return plan
        deadline = files.clock() + _WRITING_S
        for pause in files.pauses():
            found = take_over(rounds, plan.round, plan.read, plan.before)
            if found is not None:
                return found
            if files.clock() >= deadline:
                break
            files.sleep(pause)
        if files.stat_size(path) is not None:
            files.move_aside(path, "it doesn't hold the plan of a round")
    raise TemporaryError(f"{path} comes and goes", "rerun when nothing else changes it")


def chain(rounds: Path, last: str | None = None, wait_s: float = 0.0) -> list[RoundPlan]:
    """The plans of all rounds that are planned, from round 0; of what follows nothing is known yet.

    Parameters
    ----------
    rounds
        ``rounds-<fingerprint>``.
    last
        `RoundPlan.digest` of the last one, as pool's record has it; None: those that were made or
        taken over last.
    wait_s
        Seconds to look again where ``last``, or one before it, isn't there.

    Raises
    ------
    NotVisibleError
        So it is still.
    """
    if last is None:
        return _newest(rounds)
    deadline = files.clock() + wait_s
    for pause in files.pauses():
        found = _back_from(_plans(rounds), last)
        if found is not None:
            return found
        left = deadline - files.clock()
        if left <= 0:
            break
        files.sleep(min(pause, left))
    raise NotVisibleError(
        f"{rounds} doesn't hold the plans of the rounds that pool has counted",
        "run pool again (in Airflow: clear the task plan), then this stage",
    )


def _newest(rounds: Path) -> list[RoundPlan]:
    found: list[RoundPlan] = []
    while True:
        before = found[-1].digest if found else ""
        plans = [p for p in _plans(rounds, len(found)) if p[1].before == before]
        if not plans:
            return found
        found.append(max(plans, key=lambda p: (p[0], p[1].digest))[1])


def _back_from(plans: list[tuple[float, RoundPlan]], last: str) -> list[RoundPlan] | None:
    """The plan of this digest with all that come before it; None: some aren't there."""
    known = {plan.digest: plan for _, plan in plans}
    found: list[RoundPlan] = []
    while last:
        if last not in known:
            return None
        found.insert(0, known[last])
        last = found[0].before
    return found


def _plans(rounds: Path, number: int | None = None) -> list[tuple[float, RoundPlan]]:
    """All plans, or those of a round, with the times when they were made or taken over."""
    numbers = [number] if number is not None else [n for n in files.listdir(rounds) if n.isdigit()]
    found = []
    for folder in (rounds / str(n) for n in numbers):
        for name in files.listdir(folder):
            if not (name.startswith("plan-") and name.endswith(".json")):
                continue
            plan, time_s = _read(folder / name), files.modified_s(folder / name)
            if plan is not None and time_s is not None and str(plan.round) == folder.name:
                found.append((time_s, plan))
    return found


def _path(rounds: Path, number: int, read: str, before: str) -> Path:
    return rounds / str(number) / f"plan-{digest(_FORM, read, before)}.json"


def _read(path: Path) -> RoundPlan | None:
    """None: it isn't there, or isn't a plan (yet)."""
    try:
        with files.open_read(path) as file:
            return RoundPlan.from_json(file.read())
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return None
    except OSError as error:
        raise files.reading_failed(path, error) from error
