"""What earlier releases made here: nobody's result changes silently because a default did.

Release 0.2.0 made ``method: exact`` the default, and its threshold the map's own. A config that
doesn't say what it wants is refused, with the line to add, where that would replace

1. what the overlap method made, in the work or output of any partition: by a config without
   ``method`` (one that sets a key which only overlap reads is refused by the schema already);
2. what a release before made at 0.7, the default then: by a config without ``segment.threshold``.

A run of this release or a later one **answers** for its config, and a plain config isn't asked any
more: where the file itself said so or was plain (what was set for that run alone says nothing of the
file), and the run made results. It answers for its own partition's results, which it replaced, and
for those of other partitions as long as another than theirs is planned. A result at 0.7 that a line
in the file kept still stands: without the line, it is asked about again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from magneton_tasks.base import files
from magneton_tasks.base.location import locate
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.formats.precomputed.owner import OWNER_FILE, read_owner
from magneton_tasks.plan.stage_table import STAGES
from magneton_tasks.work import results
from magneton_tasks.work.attempts import Found, at_partitions, newest_first, plan_data
from magneton_tasks.work.paths import AttemptPaths, WorkPaths, stage_of

#: The first release with the defaults of now.
NEW_DEFAULTS = (0, 2)
_PARTITION = "{partition}"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: What a config may leave open, by the key that says it.
_METHOD, _THRESHOLD = "method", "segment.threshold"
#: What `segment.threshold` was without a line, before null meant the map's own.
_EARLIER_DEFAULT = 0.7


@dataclass(frozen=True, slots=True)
class Made:
    """One run of before, or the result in an output.

    Attributes
    ----------
    where
        The file that tells.
    is_old
        A release with other defaults made it.
    is_own
        Of the partition that is planned.
    is_output
        The result in an output.
    answers
        The keys that a plain config isn't asked about any more, as this run went on without.
    writes
        This run replaced what was in its output.
    """

    where: str
    method: str | None
    threshold: float | None
    is_old: bool
    is_own: bool = False
    is_output: bool = False
    answers: frozenset[str] = frozenset()
    writes: bool = False

    @property
    def answers_all(self) -> bool:
        return self.writes and self.answers >= {_METHOD, _THRESHOLD}

    def settles(self, key: str, other: Made) -> bool:
        """Whether this run answers what ``other`` asks of ``key``."""
        if key not in self.answers:
            return False
        return not other.is_own or (self.is_own and (self.writes or not other.is_output))


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
    found = _found(config, template)
    overlap = _asking(_METHOD, [m for m in found if m.method == "overlap"], found)
    at_usual = [
        m for m in found if m.is_old and m.method != "overlap" and m.threshold == _EARLIER_DEFAULT
    ]
    fixed = _asking(_THRESHOLD, at_usual, found)
    if asks_method and overlap:
        raise ConfigError(
            f"this config names no method, but {overlap.where} records a result of the overlap method, "
            "the earlier default; the default is exact now",
            "add a line to the config: `method: overlap` keeps it, `method: exact` computes it again",
        )
    if asks_threshold and fixed:
        raise ConfigError(
            f"this config sets no threshold, but {fixed.where} records a result made at "
            f"{_EARLIER_DEFAULT:g}, the earlier default; exact takes the map's own threshold now",
            f"add a line to the config: `segment.threshold: {_EARLIER_DEFAULT:g}` keeps it, "
            "`segment.threshold: null`, written out, takes the map's",
        )


def _found(config: RunConfig, template: RunConfig) -> list[Made]:
    """What is told of, this partition's first, up to a run that answers for all that is left."""
    own, *others = _of_all_partitions(template.paths.work, config.paths.work)
    own_output, *outputs = _outputs(config, template)
    found: list[Made] = []
    for run in _runs([own], config, template):
        found.append(run)
        if run.is_own and run.answers_all:
            return found
    found += _results([own_output], is_own=True)
    for run in _runs(others, config, template):
        found.append(run)
        if run.answers_all:
            return found
    return [*found, *_results(outputs, is_own=False)]


def _asking(key: str, concerned: list[Made], found: list[Made]) -> Made | None:
    """The first that no run answers for."""
    return next((m for m in concerned if not any(a.settles(key, m) for a in found)), None)


def _runs(folders: list[str], config: RunConfig, template: RunConfig) -> Iterator[Made]:
    """The runs in work directories, newest first."""
    found = list[Found]()
    for folder in folders:
        with suppress(OSError):  # another partition's, which this user may not read
            found += newest_first(
                WorkPaths(Path(folder)), by=lambda paths: files.modified_s(paths.config)
            )
    for attempt in (f.paths for f in sorted(found, key=lambda f: -f.time_s)):
        path = attempt.config
        with suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
            plan = plan_data(attempt) or {}
            made = _read(str(path), data, plan.get("version"))
            if not made.is_old and made.method == "exact" and _has_results(attempt):
                writes = "apply" in (plan.get("stages") or ())
                made = replace(made, answers=_answers(plan), writes=writes)
            yield replace(made, is_own=_is_own(path, data, config, template))


def _results(outputs: list[str], *, is_own: bool) -> Iterator[Made]:
    """What outputs hold."""
    for output in outputs:
        with suppress(
            MagnetonError
        ):  # of this run's own output `checks.check_owner` says what is wrong
            owner = read_owner(output)
            if owner is not None:
                where = locate(output).name_of(OWNER_FILE)
                made = _read(where, owner.get("config"), owner.get("magneton"))
                yield replace(made, is_own=is_own, is_output=True)


def _read(where: str, config: Any, version: object) -> Made:
    """Of a resolved config of whatever release: what isn't there isn't known."""
    data = config if isinstance(config, dict) else {}
    segment = data.get("segment")
    threshold = segment.get("threshold") if isinstance(segment, dict) else None
    return Made(where, data.get("method"), threshold, not _is_new(version))


def _answers(plan: dict[str, Any]) -> frozenset[str]:
    """What a run of this release by the exact method answers, judged by its plan."""
    if {_METHOD, _THRESHOLD} & set(plan.get("overrides") or ()):
        return frozenset()  # the file may say something else
    chosen = plan.get("threshold") or {}
    if chosen.get("source") == "config" and chosen.get("value") == _EARLIER_DEFAULT:
        return frozenset({_METHOD})  # what was made at the old default was kept
    return frozenset({_METHOD, _THRESHOLD})


def _has_results(attempt: AttemptPaths) -> bool:
    """Whether a stage has come to an end: a run that was stopped before has replaced nothing."""
    names = {stage_of(task) for task in results.read(attempt)}
    return not names.isdisjoint(STAGES)


def _is_own(path: Path, data: Any, config: RunConfig, template: RunConfig) -> bool:
    """Whether an attempt is of the partition that is planned."""
    if not path.is_relative_to(config.paths.work):
        return False
    if _PARTITION in template.paths.work or _PARTITION not in template.paths.output:
        return True
    # one work directory of all partitions: their outputs tell
    paths = data.get("paths") if isinstance(data, dict) else None
    return isinstance(paths, dict) and paths.get("output") == config.paths.output


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
    others = map(str, at_partitions(pattern).values()) if _PARTITION in pattern else []
    return list(dict.fromkeys([own, *sorted(others, reverse=True)]))
