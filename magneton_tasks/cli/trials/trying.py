"""``magneton try``: one box at several thresholds, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from math import asin, pi, sin, sqrt
from pathlib import Path
from typing import Any

import click

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.units import human_bytes, human_count, human_time
from magneton_tasks.outcome import threshold_words
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.runners.warming import ensure_warm
from magneton_tasks.trials import trial as trials
from magneton_tasks.trials import try_box as stage
from magneton_tasks.trials.cost import expected_cpu_s
from magneton_tasks.trials.trial import EXACT, Trial, threshold_name
from magneton_tasks.trials.try_box import Tried
from magneton_tasks.trials.try_layers import LayerFacts

#: Tried with the overlap method where nothing is asked for: from merging much to splitting much.
#: The best ones that were measured lie between 0.15 and 0.85, so what a run takes says little.
OVERLAP_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
#: With the exact method: steps to both sides of what the map asks for, in radians of
#: arcsin(sqrt(affinity)), the scale of the rule that finds it; about 0.1 in the middle of the range.
EXACT_STEPS = (-0.2, -0.1, 0.1, 0.2)


def try_thresholds(
    config: Path,
    *,
    box: Box | None,
    thresholds: tuple[float, ...],
    scoring: str | None,
    sets: dict[str, object],
    partition: str | None,
    view: bool,
    open_browser: bool,
    port: int,
    as_json: bool,
) -> None:
    """Make the layers, show a table, and serve them unless ``view`` is False."""
    if view:
        from magneton_tasks.viewer.serve import require_packages

        require_packages()  # before minutes of work
    functions = () if scoring is None else trials.parse_functions([scoring])
    trial = trials.open_trial(config, sets, partition, box)
    for function in functions:
        trial = trial.using(function)
    ensure_warm(partial(click.echo, err=as_json))  # else it's compiled anew each time
    own, thresholds = _chosen(trial, thresholds)
    if not as_json:
        for line in _announce(trial, stage.missing(trial, thresholds), own):
            click.echo(line)
    tried = stage.run(trial, thresholds)
    if as_json:
        click.echo(json.dumps(_as_json(trial, tried, own)))
        return
    for line in _table(trial, tried, own):
        click.echo(line)
    if view:
        _view(trial, tried, open_browser, port)


def _chosen(
    trial: Trial, given: tuple[float, ...]
) -> tuple[ThresholdChoice | None, tuple[float, ...]]:
    """What a run takes (exact: what the map asks for), and what to try.

    Where thresholds are given the map isn't asked.
    """
    if given:
        return None, given
    is_exact, fixed = trial.function == EXACT, trial.config.segment.threshold
    own = trials.own_threshold(trial, of_map=is_exact)
    around = exact_cuts(own.number) if is_exact else (*OVERLAP_THRESHOLDS, own.number)
    return own, tuple(sorted({*around, *([] if fixed is None else [fixed])}))


def exact_cuts(middle: float) -> tuple[float, ...]:
    """A threshold, and cuts on both sides of it; fewer where it lies at an end of the scale."""
    angle = asin(sqrt(middle))
    around = (angle + step for step in EXACT_STEPS)
    cuts = {round(sin(at) ** 2, 2) for at in around if 0 < at < pi / 2}
    return tuple(sorted({middle, *(cut for cut in cuts if 0 < cut < 1)}))


def _announce(trial: Trial, todo: list[float], own: ThresholdChoice | None) -> Iterator[str]:
    shape = " x ".join(map(str, trial.box.shape))
    yield f"box       {trial.box} (zyx): {shape} voxels, {human_count(trial.box.voxels)}"
    function = trial.function
    if own is not None:
        yield f"threshold {threshold_words.words(own)}"
        for warning in own.warnings:
            yield f"WARNING   {warning}"
    if not todo:
        yield f"trying    {function}: nothing to do, all layers exist"
        return
    names = ", ".join(map(threshold_name, todo))
    cpu_s = expected_cpu_s(trial, function)
    yield f"trying    {function} at {names}; about {human_time(1.5 * cpu_s)} CPU"


def _table(trial: Trial, tried: Tried, own: ThresholdChoice | None) -> Iterator[str]:
    yield "\nthreshold   objects  largest object  median object  typical object"
    for layer in tried.layers:
        yield (
            f"{layer.threshold:>9g}  {human_count(layer.objects):>8}  {layer.largest_share:>13.1%}"
            f"  {human_count(round(layer.median_vox)):>9} vox  {human_count(layer.typical_vox):>10} vox{_remark(layer)}{_mark(layer, own)}"
        )
    yield (
        "Lower thresholds merge more. If the largest object (share of what is segmented) takes over,\n"
        "too much was merged. Half of the segmented voxels lie in objects of the typical size or more:\n"
        "if it is far below that of a cell's part in this box, too little was merged.\n"
    )
    if tried.made:
        yield f"took      {human_time(tried.cpu_s)} CPU, {human_bytes(tried.peak_bytes)}"
    yield f"layers    {tried.directory}"
    if trial.config.segment.min_size_vox:
        yield "note      segment.min_size_vox isn't applied, because sizes are known only over all blocks"


def _remark(layer: LayerFacts) -> str:
    if layer.objects == 0:
        return "  nothing but background"
    if layer.largest_share > 0.5:
        return "  one object holds most of the box"
    return ""


def _mark(layer: LayerFacts, own: ThresholdChoice | None) -> str:
    if own is None or layer.threshold != own.value:
        return ""
    return "  <- what the map asks for" if own.source == "map" else "  <- what a run takes"


def _as_json(trial: Trial, tried: Tried, own: ThresholdChoice | None) -> dict[str, Any]:
    return {
        "own": None if own is None else threshold_words.as_data(own),
        "box": {"begin": trial.box.begin, "end": trial.box.end},
        "voxels": trial.box.voxels,
        "voxel_size_nm": trial.info.voxel_size_nm,
        "merge_function": trial.function,
        "directory": str(tried.directory),
        "layers": [{**asdict(f), "largest_share": f.largest_share} for f in tried.layers],
        "made": tried.made,
        "cpu_s": tried.cpu_s,
        "peak_bytes": tried.peak_bytes,
    }


def _view(trial: Trial, tried: Tried, open_browser: bool, port: int) -> None:
    from magneton_tasks.viewer.layers import Layer
    from magneton_tasks.viewer.of_config import affinity_layer
    from magneton_tasks.viewer.serve import serve

    layers = [
        affinity_layer(trial.config),
        *(Layer(threshold_name(f.threshold), "segmentation", f.url) for f in tried.layers),
    ]
    z, y, x = ((b + e) / 2 for b, e in zip(trial.box.begin, trial.box.end, strict=True))
    serve(
        layers,
        position_vox=(z, y, x),
        voxel_size_nm=trial.info.voxel_size_nm,
        shape_vox=trial.box.shape,
        side_by_side=True,
        open_browser=open_browser,
        port=port,
    )
