"""The curve over all thresholds that pool of the exact method added up: read, never computed.

It is as old as the newest pool: no volume is opened, and no record of a block is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.base.methods import FIRST_BLOCK
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError, CorruptFileError, NoInputError, OtherVersionError
from magneton_tasks.plan.fingerprints import lowest_threshold
from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.work import attempts, threshold_of
from magneton_tasks.work.frozen import config_of, plan_of
from magneton_tasks.work.paths import AttemptPaths, WorkPaths


@dataclass(frozen=True, slots=True)
class Level:
    """What a cut at one threshold leaves.

    Attributes
    ----------
    share
        Of the largest object in all segmented voxels.
    classes
        Objects by size; class k holds those of 2^k to 2^(k+1) - 1 voxels.
    largest
        Global id and voxels of the largest objects, largest first.
    """

    threshold: float
    objects: int
    share: float
    classes: tuple[int, ...]
    largest: tuple[tuple[int, int], ...]

    @property
    def median_vox(self) -> tuple[int, int]:
        """Between which sizes half of the objects end; (0, 0) where there's none."""
        if not self.objects:
            return 0, 0
        reached = list(accumulate(self.classes))
        k = bisect_right(reached, (self.objects - 1) // 2)
        return 2**k, 2 ** (k + 1) - 1

    def of_at_least(self, exponent: int) -> int:
        """Objects of 2^exponent voxels or more."""
        return sum(self.classes[exponent:])


@dataclass(frozen=True, slots=True)
class Curve:
    """What a pool added up.

    Attributes
    ----------
    paths, plan
        The newest attempt with that pool.
    is_newest
        Whether no newer attempt was planned.
    threshold
        That its cut was made at.
    written_s
        When pool wrote it, in unix seconds.
    voxels
        Segmented ones.
    levels
        Ascending, from the lowest threshold that blocks merged down to.
    warnings
        What pool warned of: of the threshold from the map, and of an object that is too large.
    """

    paths: AttemptPaths
    plan: Plan
    is_newest: bool
    threshold: ThresholdChoice
    written_s: float
    supervoxels: int
    voxels: int
    levels: tuple[Level, ...]
    warnings: tuple[str, ...] = ()

    def at(self, threshold: float) -> Level:
        """The level that stands for a threshold: the highest that isn't above it.

        Raises
        ------
        ConfigError
            Blocks weren't merged that far.
        """
        lowest = self.levels[0].threshold
        if threshold < lowest:
            raise ConfigError(
                f"the threshold {threshold:g} lies below {lowest:g}, down to which these blocks were merged",
                f"set exact.lowest_threshold: {threshold:g}, and run; all blocks are segmented again then",
            )
        return self.levels[bisect_right([x.threshold for x in self.levels], threshold) - 1]


def newest(config: RunConfig) -> Curve:
    """The curve of the newest attempt whose pool has one.

    Parameters
    ----------
    config
        With a work directory of its own: no placeholder is left in it.

    Raises
    ------
    ConfigError
        The method has no curve; or another version of Magneton planned all attempts.
    NoInputError
        No run has come to its pool yet.
    CorruptFileError
        Its report is damaged.
    """
    if config.method != "exact":
        raise ConfigError(
            f"there is no curve with method: {config.method}, whose blocks are segmented at one threshold",
            "set method: exact, whose thresholds are cuts; or look at several with magneton try",
        )
    work = WorkPaths(Path(config.paths.work))
    found = attempts.newest_first(work)
    other: OtherVersionError | None = None
    for number, one in enumerate(found):
        try:
            planned = plan_of(one.paths)
        except OtherVersionError as error:
            other = other or error
            continue
        for plan in planned.each():  # the curve is the same at all of several thresholds
            curve = _of_plan(work, one.paths, plan, is_newest=number == 0)
            if curve is not None:
                return curve
    if other is not None:
        raise other
    raise NoInputError(
        f"no run of {work.work} has come to its pool yet, which adds up the curve"
        if found
        else f"{work.work} holds no run yet",
        "magneton run makes it; magneton status shows how far it is",
    )


def _of_plan(work: WorkPaths, paths: AttemptPaths, plan: Plan, *, is_newest: bool) -> Curve | None:
    """The curve of a plan's pool; None: there's none (yet)."""
    path = work.stage("pool", plan.fingerprints.pool) / "report.json"
    written_s = files.modified_s(path)
    if written_s is None or plan.geometry.method != "exact":
        return None
    supervoxels, voxels, levels, warning = read(path, lowest_threshold(config_of(paths)))
    chosen = threshold_of.result(work, plan)
    warnings = (*chosen.warnings, *([warning] if warning else ()))
    sums = (supervoxels, voxels, levels)
    return Curve(paths, plan, is_newest, chosen, written_s, *sums, warnings)


def read(path: Path, lowest: float) -> tuple[int, int, tuple[Level, ...], str | None]:
    """Supervoxels, segmented voxels, the levels from ``lowest`` on, and the warning of a pool's report.

    Raises
    ------
    CorruptFileError
        The file isn't what pool wrote.
    """
    with suppress(ValueError, KeyError, TypeError, IndexError), files.open_read(path) as file:
        report = json_object(file.read())
        return _parsed(report, lowest)
    raise CorruptFileError(
        f"{path}, which holds the curve, is damaged",
        "magneton run with --restart --stages pool writes it again",
    )


def _parsed(
    report: Mapping[str, Any], lowest: float
) -> tuple[int, int, tuple[Level, ...], str | None]:
    curve = report["curve"]
    voxels = int(curve["sums"][-1])
    rows = zip(
        curve["thresholds"],
        curve["objects"],
        curve["size_classes"],
        curve["largest_ids"],
        curve["largest_voxels"],
        strict=True,
    )
    levels = tuple(
        Level(
            threshold,
            objects,
            sizes[0] / voxels if voxels else 0.0,
            tuple(classes),
            # as cut calls them
            tuple(
                (name + FIRST_BLOCK, size) for name, size in zip(ids, sizes, strict=True) if size
            ),
        )
        for threshold, objects, classes, ids, sizes in rows
        if threshold >= lowest
    )
    if not levels:
        raise ValueError("no level lies above the lowest threshold")
    return int(report["labels"]), voxels, levels, report.get("warning")
