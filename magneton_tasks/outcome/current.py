"""The newest attempt as it would be planned now: the config may have changed since, or the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from magneton_tasks.base import files, lease
from magneton_tasks.config.deciding import decides
from magneton_tasks.config.differences import differing
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.config.thresholds import config_at, is_open, with_its_threshold, with_threshold
from magneton_tasks.errors import CorruptFileError, MagnetonError
from magneton_tasks.formats.precomputed.owner import read_owner
from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.plan.stage_table import CHOICE_OF, CHOICES
from magneton_tasks.stages.planning.expected import Source, expected
from magneton_tasks.work import attempts
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.frozen import plan_of
from magneton_tasks.work.paths import WorkPaths, stage_folder

OUTPUT_GONE = "the output is gone"
OTHER_OUTPUT = "the output holds another result now"


@dataclass(frozen=True)
class Now:
    """An attempt as it would be planned now.

    Attributes
    ----------
    attempt
        With the config, geometry, fingerprints and input of now.
    changes
        What the config says differently, as ``key: before -> now``.
    notes
        What couldn't be looked up, and so counts as unchanged.
    output
        Why the output isn't what the records of apply tell of; None: it is.
    """

    attempt: Attempt
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    output: str | None = None

    def reasons(self, stage: str) -> list[str]:
        """The changes that make results of a stage stale."""
        choices = CHOICES[: CHOICES.index(CHOICE_OF[stage]) + 1]
        return [c for c in self.changes if any(decides(c.partition(":")[0], x) for x in choices)]


def as_planned_now(attempt: Attempt, config_path: Path) -> Now:
    """What a run of the same command would find: the YAML as it is now, with the same overrides.

    Never fails: what can't be read now (an input that isn't mounted) counts as unchanged, and a
    note says so.
    """
    now = _planned(attempt, config_path)
    try:
        output = _output(now.attempt)
    except MagnetonError as error:
        return replace(now, notes=(*now.notes, f"the output can't be looked at: {error.what}"))
    return replace(now, output=output)


def _output(attempt: Attempt) -> str | None:
    """Records of apply outlive what they tell of: see `checks.check_owner`."""
    owner = read_owner(attempt.config.paths.output)
    if owner is None:
        return OUTPUT_GONE
    same = owner.get("fingerprint") == attempt.plan.fingerprints.of_output
    return None if same else OTHER_OUTPUT


def _planned(attempt: Attempt, config_path: Path) -> Now:
    plan = attempt.plan
    try:
        config = load_config(config_path, plan.overrides, plan.partition)
        if attempt.paths.cut:
            lowest = attempt.config.exact.lowest_threshold
            config = config_at(config, plan.threshold.number, lowest)
        else:
            config = with_its_threshold(config)
            if is_open(config) and not attempt.is_open:
                config = with_threshold(config, attempt.threshold.number)
    except MagnetonError as error:
        return Now(attempt, notes=(f"the config can't be read now: {error.what}",))
    changes, notes = _changes(attempt, config, None), tuple[str, ...]()
    try:
        source = Source.of(config)
    except MagnetonError as error:
        notes = (f"it is unknown whether the input changed: {error.what}",)
        if any(c.startswith(("paths.input:", "input.", "mask.")) for c in changes):
            return Now(attempt, changes, notes)
        source = Source(plan.volume, plan.input_digest)
    try:
        found = expected(config, plan.overrides, source)
    except CorruptFileError as error:
        return Now(attempt, changes, (*notes, error.what))
    except MagnetonError as error:
        return Now(attempt, changes, (*notes, f"the config doesn't fit the input: {error.what}"))
    changes = _changes(attempt, config, found.threshold)
    if (found.fingerprints, source.digest) == (plan.fingerprints, plan.input_digest):
        return Now(attempt, changes, notes)
    now = replace(
        plan,
        volume=source.facts,
        input_digest=source.digest,
        geometry=found.geometry,
        fingerprints=found.fingerprints,
        threshold=found.threshold,
        restart=False,
    )
    return Now(replace(attempt, plan=now, config=config), changes, notes)


def _changes(
    attempt: Attempt, config: RunConfig, threshold: ThresholdChoice | None
) -> tuple[str, ...]:
    """What the config says differently; ``threshold``: what a run takes now, if that's known."""
    taken = (attempt.threshold.settled, None if threshold is None else threshold.settled)
    return tuple(differing(attempt.config.resolved(), config.resolved(), taken))


def _plans(work: WorkPaths) -> Iterator[Plan]:
    """The plans of all attempts of this version that can be read, newest first; at each threshold."""
    for found in attempts.newest_first(work):
        with suppress(OSError, MagnetonError):
            yield from plan_of(found.paths).each()


def older_plans(attempt: Attempt) -> list[Plan]:
    """Plans of the same volume with other fingerprints, whose stage directories are still there."""
    seen, older = {attempt.plan.fingerprints}, []
    there = {name for name in files.listdir(attempt.work.work) if "-" in name}
    for plan in _plans(attempt.work):
        prints = plan.fingerprints
        if prints not in seen and any(
            stage_folder(s, prints.of(s)).split("/")[0] in there for s in CHOICE_OF
        ):
            seen.add(prints)
            older.append(plan)
    return older


def is_alive(attempt: Attempt) -> bool:
    """Whether something works on the attempt's run."""
    held = lease.holder_of(attempt.work.work)
    return held is not None and held[0].run == attempt.plan.run
