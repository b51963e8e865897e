"""What of a work directory is in use: results of the settings of now, the newest attempts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import MagnetonError
from magneton_tasks.plan.stage_table import CHOICE_OF
from magneton_tasks.stages.planning.expected import Source, expected
from magneton_tasks.work.attempts import newest_first, plan_data
from magneton_tasks.work.paths import AttemptPaths, WorkPaths, stage_folder
from magneton_tasks.work.results import is_proved


@dataclass(frozen=True)
class Needed:
    """What is in use.

    Attributes
    ----------
    stages
        Names of stage folders of the config as it is, and of the newest attempt of each volume.
    attempts
        ``<run>/<n>`` of these attempts.
    verified
        Names of stage folders of a volume that was verified.
    """

    stages: frozenset[str]
    attempts: frozenset[str]
    verified: frozenset[str]


def needed(config: RunConfig, what: str) -> Needed:
    """What must stay; `what` decides how much has to be known.

    Raises
    ------
    NoInputError, TemporaryError
        Of ``stale``: the input can't be read, so which results are stale isn't known.
    CorruptFileError
        Of ``stale``: the file of thresholds is damaged.
    """
    work = WorkPaths(Path(config.paths.work))
    newest: dict[tuple[Any, Any], tuple[str, dict[str, Any]]] = {}
    verified: dict[str, bool] = {}
    for found in newest_first(work):
        plan, root = plan_data(found.paths), found.paths.root
        if plan is None:
            continue
        name = f"{root.parent.name}/{root.name}"
        newest.setdefault((plan.get("config_path"), plan.get("partition")), (name, plan))
        plan["settled"] = _settled(found.paths)
        for folder in _folders(plan):
            if folder not in verified:  # what the newest attempt with these blocks came to
                whole = "apply" in plan.get("stages", ())
                verified[folder] = whole and is_proved(found.paths)
    stages = {folder for _, plan in newest.values() for folder in _folders(plan)}
    try:
        stages |= _of_now(config)
    except MagnetonError:
        if what == "stale":
            raise
    return Needed(
        frozenset(stages),
        frozenset(name for name, _ in newest.values()),
        frozenset(name for name, is_verified in verified.items() if is_verified),
    )


def _folders(plan: dict[str, Any]) -> set[str]:
    """Stage folders of an attempt, at all its thresholds; all rounds lie in one."""
    return {
        f"{stage}-{fingerprint}"
        for each in (plan, plan["settled"], *plan.get("cuts", ()))
        for stage, fingerprint in each.get("fingerprints", {}).items()
    }


def _settled(paths: AttemptPaths) -> dict[str, Any]:
    """What pool settled that plan couldn't know."""
    with suppress(OSError, ValueError), files.open_read(paths.settled) as file:
        return json_object(file.read())
    return {}


def _of_now(config: RunConfig) -> set[str]:
    """Stage folders of the config as it is."""
    prints = expected(config, {}, Source.of(config)).fingerprints
    return {stage_folder(s, prints.of(s)).split("/")[0] for s in CHOICE_OF}
