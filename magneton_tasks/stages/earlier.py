"""What earlier releases made here: nobody's result changes silently because a default did.

Release 0.2.0 made ``method: exact`` the default, and its threshold the map's own. A config that
doesn't say what it wants is refused, with the line to add, where that would replace

1. what the overlap method made, in the work or output of any partition: by a config without
   ``method`` (one that sets a key which only overlap reads is refused by the schema already);
2. what a release before made at 0.7, the default then: by a config without ``segment.threshold``.

Once a run of this release or a later one was accepted as it is now, nothing is asked any more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from glob import escape, glob
from pathlib import Path
from typing import Any

import yaml

from magneton_tasks import files
from magneton_tasks.config import RunConfig
from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.location import locate, read_json
from magneton_tasks.paths import AttemptPaths, WorkPaths
from magneton_tasks.schema import USUAL_THRESHOLD

#: The first release with the defaults of now.
NEW_DEFAULTS = (0, 2)
_PARTITION = "{partition}"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Made:
    """One run of before, or the result in an output.

    Attributes
    ----------
    where
        The file that tells.
    is_old
        A release with other defaults made it.
    """

    where: str
    method: str | None
    threshold: float | None
    is_old: bool


def check(config: RunConfig, template: RunConfig) -> None:
    """Refuse a config whose defaults would change what was made.

    Parameters
    ----------
    config
        The run's.
    template
        The same, with ``{partition}`` as the file has it.

    Raises
    ------
    ConfigError
        With the line to add.
    """
    asks_method = "method" not in config.model_fields_set
    asks_threshold = "threshold" not in config.segment.model_fields_set
    if config.method != "exact" or not (asks_method or asks_threshold):
        return
    overlap = fixed = None
    for made in _made(config, template):
        if made.method == "exact" and not made.is_old:
            return
        if made.method == "overlap":
            overlap = overlap or made
        elif made.is_old and made.threshold == USUAL_THRESHOLD:
            fixed = fixed or made
    if asks_method and overlap:
        raise ConfigError(
            f"this config names no method, and {overlap.where} tells of a result that the overlap method "
            "made, which was the default; now exact is",
            "add a line to the config: `method: overlap` keeps it, `method: exact` makes it anew",
        )
    if asks_threshold and fixed:
        raise ConfigError(
            f"this config sets no threshold, and {fixed.where} tells of a result made at "
            f"{USUAL_THRESHOLD:g}, which was the default; now exact takes the map's own",
            f"add a line to the config: `segment.threshold: {USUAL_THRESHOLD:g}` keeps it, "
            "`segment.threshold: null`, written out, takes the map's",
        )


def remark(config: RunConfig) -> str | None:
    """Of a threshold without a method: which one it is for, and what is usual there."""
    threshold = config.segment.threshold
    if "method" in config.model_fields_set or threshold is None:
        return None
    return (
        f"segment.threshold {threshold:g} is for method: exact, the default, as the config names none: "
        f"there .2 to .5 are usual, and null takes the map's own; {USUAL_THRESHOLD:g} is usual for method: "
        "overlap. A line `method: exact` (or overlap) says which is meant"
    )


def _made(config: RunConfig, template: RunConfig) -> Iterator[Made]:
    """What is told of, newest runs first: an accepted one ends the search."""
    folders = _of_all_partitions(template.paths.work, config.paths.work)
    paths = [p for f in folders for p in WorkPaths(Path(f)).runs.glob("*/*/config.yaml")]
    found = [(modified, p) for p in paths if (modified := files.modified_s(p)) is not None]
    for _, path in sorted(found, reverse=True):
        with suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
            yield _read(str(path), data, _planned_by(path))
    for output in _outputs(config, template):
        with suppress(
            MagnetonError
        ):  # of this run's own output `checks.check_owner` says what is wrong
            owner = read_json(locate(output), "magneton.json")
            if owner is not None:
                where = locate(output).name_of("magneton.json")
                yield _read(where, owner.get("config"), owner.get("magneton"))


def _read(where: str, config: Any, version: object) -> Made:
    """Of a resolved config of whatever release: what isn't there isn't known."""
    data = config if isinstance(config, dict) else {}
    segment = data.get("segment")
    threshold = segment.get("threshold") if isinstance(segment, dict) else None
    return Made(where, data.get("method"), threshold, not _is_new(version))


def _planned_by(config: Path) -> object:
    """The release that planned an attempt; None: nothing tells."""
    with suppress(OSError, ValueError, AttributeError):
        return json.loads(AttemptPaths(config.parent).plan.read_bytes()).get("version")
    return None


def _is_new(version: object) -> bool:
    numbers = re.findall(r"\d+", str(version))
    return tuple(map(int, numbers[:2])) >= NEW_DEFAULTS


# ------------------------------------------------------------------ places
def _outputs(config: RunConfig, template: RunConfig) -> list[str]:
    """The output of this run, and those of other partitions where they are files."""
    location = locate(config.paths.output)
    if location.path is None or _PARTITION not in template.paths.output:
        return [config.paths.output]
    pattern = locate(template.paths.output).path
    return _of_all_partitions(str(pattern), str(location.path))


def _of_all_partitions(pattern: str, own: str) -> list[str]:
    """The paths of ``pattern`` that exist, this run's first."""
    others = glob("*".join(map(escape, pattern.split(_PARTITION)))) if _PARTITION in pattern else []
    return list(dict.fromkeys([own, *sorted(others, reverse=True)]))
