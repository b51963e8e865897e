"""``magneton cut``: what each threshold would leave, from the sums that a run's pool wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from magneton_tasks.base.units import human_count, human_moment, several
from magneton_tasks.cli.trials.text_plot import plot
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.outcome import curve as curves
from magneton_tasks.outcome import threshold_words
from magneton_tasks.outcome.curve import Curve, Level

#: Listed are the levels at multiples of this, beside what was cut at and what was asked for.
_STEP = 0.05
#: Objects of 2^10 voxels or more are counted for themselves: crumbs say little.
_LARGE = 10


def show(config: Path, partition: str | None, threshold: float | None, as_json: bool) -> None:
    """Print the curve, or all of it as JSON.

    Raises
    ------
    NoInputError
        There's no pool yet.
    ConfigError
        The method has no curve, or blocks weren't merged down to that threshold.
    CorruptFileError
        The pool's report is damaged.
    """
    loaded = load_config(config, partition=partition)
    require_partition(loaded, str(config))
    curve = curves.newest(loaded)
    asked = None if threshold is None else curve.at(threshold)
    if as_json:
        click.echo(json.dumps(_as_json(curve, threshold, asked)))
        return
    for line in _words(curve, loaded, threshold, asked):
        click.echo(line)


# ------------------------------------------------------------------ words
def _words(
    curve: Curve, config: RunConfig, threshold: float | None, asked: Level | None
) -> Iterator[str]:
    run = f"{curve.plan.run}, attempt {curve.plan.attempt}"
    yield f"pool      of {run}, {human_moment(curve.written_s)}: {several(curve.supervoxels, 'supervoxel')}, {several(curve.voxels, 'segmented voxel')}"
    yield f"threshold {threshold_words.words(curve.threshold)}"
    for warning in curve.warnings:
        yield f"WARNING   {warning}"
    if not curve.is_newest:
        yield "note      a newer attempt was planned that has no pool yet; magneton status shows how far it is"
    if config.segment.min_size_vox:
        yield "note      segment.min_size_vox isn't applied here: objects of all sizes are counted"
    yield from _plots(curve)
    yield from _table(curve, asked)
    if asked is not None and threshold is not None:
        yield from _listed(asked, threshold)
    else:
        yield "The largest objects at a threshold: --threshold .35. All levels: --json."


def _plots(curve: Curve) -> Iterator[str]:
    at = [level.threshold for level in curve.levels]
    chosen = curve.threshold.number
    counts = [max(level.objects, 1) for level in curve.levels]
    yield "\nobjects over the threshold (the axis is logarithmic; | is the run's threshold)"
    yield from plot(at, counts, chosen, lambda v: human_count(int(v)), is_log=True)
    yield "\nlargest object's share of the segmented voxels"
    yield from plot(at, [level.share for level in curve.levels], chosen, lambda v: f"{v:.1%}")


def _table(curve: Curve, asked: Level | None) -> Iterator[str]:
    yield f"\nthreshold     objects  of {human_count(2**_LARGE)} vox or more  largest object  size class of the median object"
    chosen = curve.at(max(curve.threshold.number, curve.levels[0].threshold))
    for level in curve.levels:
        steps = level.threshold / _STEP
        if level not in (chosen, asked) and abs(steps - round(steps)) > 1e-6:
            continue
        low, high = level.median_vox
        sizes = f"{human_count(low)} to {human_count(high)} vox" if high > 1 else f"{low} vox"
        mark = "  <- the run's" if level == chosen else "  <- asked for" if level == asked else ""
        yield (
            f"{level.threshold:>9g}  {human_count(level.objects):>10}  {human_count(level.of_at_least(_LARGE)):>20}"
            f"  {level.share:>14.1%}  {sizes}{mark}"
        )
    yield "Lower thresholds merge more. If the largest object takes over, too much was merged.\n"


def _listed(level: Level, threshold: float) -> Iterator[str]:
    told = f"at {level.threshold:g}"
    if level.threshold != threshold:
        told += f", the level next below {threshold:g}"
    yield f"{told}: {several(level.objects, 'object')}; the largest"
    yield f"{'id':>20}  {'voxels':>16}"
    for name, voxels in level.largest:
        yield f"{name:>20}  {human_count(voxels):>16}"
    yield f"{'voxels of an object':>33}  {'objects':>12}"
    for k, objects in enumerate(level.classes):
        if objects:
            sizes = f"{human_count(2**k)} to {human_count(2 ** (k + 1) - 1)}" if k else "1"
            yield f"{sizes:>33}  {human_count(objects):>12}"


# ------------------------------------------------------------------ JSON
def _as_json(curve: Curve, threshold: float | None, asked: Level | None) -> dict[str, Any]:
    return {
        "attempt": str(curve.paths.root),
        "run": curve.plan.run,
        "is_newest": curve.is_newest,
        "written": curve.written_s,
        "threshold": threshold_words.as_data(curve.threshold),
        "warnings": list(curve.warnings),
        "supervoxels": curve.supervoxels,
        "voxels": curve.voxels,
        "levels": [_level(level) for level in curve.levels],
        "asked": None if asked is None else {"given": threshold, **_level(asked)},
    }


def _level(level: Level) -> dict[str, Any]:
    largest = [{"id": name, "voxels": voxels} for name, voxels in level.largest]
    return {
        "threshold": level.threshold,
        "objects": level.objects,
        "largest_share": level.share,
        "size_classes": list(level.classes),
        "largest": largest,
    }
