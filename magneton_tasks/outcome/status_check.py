"""What ``status --check`` finds damaged in the output is marked, so that the next run writes it again.

Of an output in a bucket, and where reading is dear, verify reads the same sample each time (see
`proof`): it would never meet damage elsewhere. A mark is the *invalid* event with which verify gives
up a cell. It names the files, so that each later check tells of them until the cell is written again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from magneton_tasks.base import files, lease
from magneton_tasks.errors import LeaseHeldError, MagnetonError
from magneton_tasks.outcome import damage
from magneton_tasks.outcome.damage import Damage
from magneton_tasks.plan.stage_table import WRITING
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Info
from magneton_tasks.work.states import Judged, VolumeStates

_MARKED = "the next run writes it again"
_CHANGED = "a run worked on this cell meanwhile: check again"
#: Files of a cell that its mark names.
_NAMED = 20


def check(attempt: Attempt, stage: str, states: VolumeStates) -> list[Damage]:
    """Damaged files of a stage; cells of the output that have some are marked.

    Where the marks can't be written (a run works here, the directory is read-only), that is said
    in the hints.

    Raises
    ------
    OutputError, TemporaryError
        The file system, or the connection to a bucket, failed.
    """
    found = list(damage.find(attempt, stage, states.judged(stage)))
    if stage not in WRITING:
        return found
    keys = {one.key for one in found}
    seen = [each for each in states.judged(stage) if each.key in keys] if keys else []
    return [*_marked(states.judged(stage)), *_mark(attempt, stage, found, seen)]


def _marked(judged: Iterable[Judged]) -> Iterator[Damage]:
    """What earlier checks found, and no run has written again."""
    for each in judged:
        mark = each.state.given_up if each.kind == "missing" and each.state else None
        for file, cause in mark.info.get("damaged", ()) if mark else ():
            yield Damage(each.key, file, cause, _MARKED)


def _mark(
    attempt: Attempt, stage: str, found: list[Damage], seen: Collection[Judged]
) -> list[Damage]:
    """``found``, each with what became of it; ``seen``: the cells as they were when they were read."""
    if not found:
        return []
    work = attempt.work.work
    try:
        held = lease.look(work)
        if held is not None and not held[0].is_dead:  # also one that is old: a queue may be long
            raise LeaseHeldError(f"{work} is in use by {held[0]}")
        with lease.acquire([work], f"check-{files.unique_suffix()}", process_bound=True):
            marked = _write(attempt, stage, found, seen)
    except MagnetonError as error:
        hint = (
            f"it isn't marked for the next run: {error.what}; check again when nothing works on "
            f"this volume, as a user who may write to {work}"
        )
        return [replace(one, hint=hint) for one in found]
    return [replace(one, hint=_MARKED if one.key in marked else _CHANGED) for one in found]


def _write(
    attempt: Attempt, stage: str, found: list[Damage], seen: Collection[Judged]
) -> Collection[int]:
    """The cells that were marked: those whose records are still the ones that were read."""
    manifest, named = attempt.manifest(stage), dict[int, list[Damage]]()
    for one in found:
        named.setdefault(one.key, []).append(one)
    now = manifest.read(set(named))
    same = [each.key for each in seen if _is_same(each, now.get(each.key))]
    with manifest.writer(attempt.name, stage, -1) as writer:
        for key in same:
            some = named[key][:_NAMED]
            info = Info(
                cause=f"status --check: {some[0].file}: {some[0].cause}",
                damaged=[(one.file, one.cause) for one in some],
            )
            writer.add(key, "invalid", after=now[key], attempt=attempt.plan.attempt, info=info)
    return set(same)


def _is_same(each: Judged, now: KeyState | None) -> bool:
    was, valid = each.state and each.state.valid, now and now.valid
    return bool(was) and was == valid
