"""Whose result the output holds: its ``magneton.json``, from plan to verify.

It tells of the result whose chunks are there: a run that would write over one changes neither it
nor the ``info`` before apply has a first chunk to write. Stopped earlier, it leaves the result
as it was, and known as such::

    plan     no owner yet       owner and info are written: the place is taken
             this result        info is written where it is gone or damaged
             another result     its files are listed, unless they are (`replaced_files`)
    apply    first chunk        the same, then owner (unfinished, of this run) and info, where they aren't so yet
             first cell that    the same, if the output holds another result
             may stay as it is
    verify   proved complete    finished: when, and of the run that wrote last
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from magneton_tasks import __version__
from magneton_tasks.base.location import locate
from magneton_tasks.config.read import RunConfig
from magneton_tasks.formats.listed import LIST_FILE
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.owner import write_owner
from magneton_tasks.plan.plan import Plan
from magneton_tasks.stages import replaced_files
from magneton_tasks.stages.planning.checks import identity, owner_of
from magneton_tasks.stages.planning.replaced import state_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Note, tell
from magneton_tasks.work.stores import create_output

if TYPE_CHECKING:  # heavy
    from magneton_tasks.formats.precomputed.store import PrecomputedStore

_UNKNOWN = (
    "NOTE: nothing tells which files the result has that is replaced (its records are gone): what isn't "
    "written over stays in"
)
#: How often an owner that lags behind is looked for, in seconds.
_LOOK_S = 0.5


def take_place(config: RunConfig, plan: Plan) -> None:
    """What plan writes into the output, so that chunks can be looked at as they come.

    Raises
    ------
    ConfigError
        What lies there can't be written over.
    """
    owner = owner_of(config.paths.output, overwrite=True)
    if owner is not None:
        replaced_files.keep_objects(config, plan)
    if owner is None:
        create_output(config, plan, owner=_content(config, plan, plan.threshold.settled))
    elif owner.get("fingerprint") == plan.fingerprints.of_output:
        create_output(config, plan, replace=True, other_form=True)
    else:
        is_known = _keep_files(config.paths.output, owner, plan)
        if not is_known:
            tell(Note(f"{_UNKNOWN} {config.paths.output}", "warning"))
        may_differ = is_known and _may_differ(owner, plan)
        create_output(config, plan, replace=True, check_only=True, other_form=may_differ)


def output_to_write(attempt: Attempt) -> PrecomputedStore:
    """The output, which from now on holds this attempt's result; called before the first chunk.

    Many tasks may do so at once, on several machines: all write the same.
    """
    config, plan = attempt.config, attempt.plan
    owner = owner_of(config.paths.output, overwrite=True)
    threshold = attempt.threshold.settled
    if owner is not None and _is_claimed(owner, plan, threshold):
        # another task may have written the owner, and not the info yet
        return create_output(config, plan, replace=True, other_form=True)
    other_form = owner is not None and (
        _keep_files(config.paths.output, owner, plan) and _may_differ(owner, plan)
    )
    content = _content(attempt.frozen_config(), plan, threshold)
    if (
        owner is not None
        and owner.get("fingerprint") == plan.fingerprints.of_output
        and not plan.restart
    ):
        content |= _release(owner)
    return create_output(config, plan, owner=content, other_form=other_form)


def _keep_files(url: str, owner: Mapping[str, Any], plan: Plan) -> bool:
    """Have the files of the owner's result listed, before it changes; whether they are known."""
    if _is_written_over(owner, plan):
        return True
    return replaced_files.keep(url, owner)


def _may_differ(owner: Mapping[str, Any], plan: Plan) -> bool:
    """Whether shards may come beside chunks that lie there, or chunks beside shards."""
    return plan.overwrite_output or _is_written_over(owner, plan)


def _is_written_over(owner: Mapping[str, Any], plan: Plan) -> bool:
    """Whether the owner's result has the files of this one: cells are written over in place."""
    return bool(owner.get("written") == plan.fingerprints.apply)


def claim(attempt: Attempt) -> None:
    """Let the output hold this attempt's result, where cells of another are as this one has them."""
    owner = owner_of(attempt.config.paths.output, overwrite=True)
    told = (owner.get("fingerprint"), owner.get("threshold")) if owner else None
    if told != (attempt.plan.fingerprints.of_output, attempt.threshold.settled):
        output_to_write(attempt)


def mark_finished(attempt: Attempt, files: int) -> None:
    """Note in the output's owner that verify has proved it complete: when, and of which run.

    ``files``: how many the list has, which is written.

    Where nothing was written since it was proved so before, both stay.
    """
    url = attempt.config.paths.output
    owner = _own_owner(attempt)
    if owner is None:
        return
    state, finished_s, run = state_of(attempt.config, owner)
    if state != "finished":
        finished_s, run = time.time(), owner.get("run") or attempt.plan.run
    listed = {"files": files, "size": Objects(locate(url)).size_of(LIST_FILE)}
    told = {
        "run": owner.get("run"),
        "finished": {"time": finished_s, "run": run},
        "listed": listed,
    }
    made = _content(attempt.frozen_config(), attempt.plan, attempt.threshold.settled)
    content = made | told | _release(owner)
    if content != owner:
        write_owner(url, content)


def mark_unfinished(attempt: Attempt) -> None:
    """Note in the output's owner that the result isn't complete after all."""
    owner = _own_owner(attempt)
    if owner is not None and owner.get("finished"):
        write_owner(attempt.config.paths.output, owner | {"finished": None})


def _own_owner(attempt: Attempt) -> dict[str, Any] | None:
    """The owner that this result has; waited for, as another machine may just have written it."""
    until = time.monotonic() + attempt.wait_s
    while True:
        owner = owner_of(attempt.config.paths.output, overwrite=True)
        if owner is not None and owner.get("fingerprint") == attempt.plan.fingerprints.of_output:
            return owner
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_S)


def _is_claimed(owner: Mapping[str, Any], plan: Plan, threshold: float | None) -> bool:
    """Whether the owner says that this run is writing this result."""
    told = owner.get("fingerprint"), owner.get("run"), owner.get("finished", "unknown")
    same = told == (plan.fingerprints.of_output, plan.run, None)
    return same and owner.get("threshold") == threshold


def _release(owner: Mapping[str, Any]) -> dict[str, Any]:
    """The release whose result it is, which stays: `stages.planning.earlier` asks about those of old defaults."""
    return {"magneton": owner.get("magneton")}


def _content(config: RunConfig, plan: Plan, threshold: float | None) -> dict[str, Any]:
    """What tells of a plan's result, unfinished; the same in each of its tasks.

    Parameters
    ----------
    config
        With paths as they were planned.
    threshold
        That the result has; None: pool hasn't taken it from the map yet.
    """
    return {
        "magneton": __version__,
        "volume": identity(config, plan.geometry),
        "input": config.paths.input,
        "config_path": plan.config_path,
        "partition": plan.partition,
        "run": plan.run,
        "fingerprint": plan.fingerprints.of_output,
        # whose records tell what lies in each cell
        "written": plan.fingerprints.apply,
        # when verify proved this result complete, and of which run; see `stages.planning.replaced`
        "finished": None,
        # the list of its files, once it is proved; see `replaced_files`
        "listed": None,
        "threshold": threshold,
        "config": config.resolved(),
    }
