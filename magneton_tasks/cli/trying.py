"""``magneton try``: one box at several thresholds, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from magneton_tasks.geometry import Box
from magneton_tasks.runners.warming import ensure_warm
from magneton_tasks.stages import trial as trials
from magneton_tasks.stages import trying as stage
from magneton_tasks.stages.trial import Trial, threshold_name
from magneton_tasks.stages.trying import LayerFacts, Tried
from magneton_tasks.units import human_bytes, human_count, human_time

#: Tried where nothing is asked for: from merging much to splitting much.
DEFAULT_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)


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
    thresholds = thresholds or DEFAULT_THRESHOLDS
    if not as_json:
        for line in _announce(trial, stage.missing(trial, thresholds)):
            click.echo(line)
    ensure_warm(partial(click.echo, err=as_json))  # else it's compiled anew each time
    tried = stage.run(trial, thresholds)
    if as_json:
        click.echo(json.dumps(_as_json(trial, tried)))
        return
    for line in _table(trial, tried):
        click.echo(line)
    if view:
        _view(trial, tried, open_browser, port)


def _announce(trial: Trial, todo: list[float]) -> Iterator[str]:
    shape = " x ".join(map(str, trial.box.shape))
    yield f"box       {trial.box} (zyx): {shape} voxels, {human_count(trial.box.voxels)}"
    function = trial.function
    if not todo:
        yield f"trying    {function}: nothing to do, all layers are there"
        return
    names = ", ".join(map(threshold_name, todo))
    cpu_s = trials.expected_cpu_s(trial, function)
    yield f"trying    {function} at {names}; about {human_time(1.5 * cpu_s)} CPU"


def _table(trial: Trial, tried: Tried) -> Iterator[str]:
    yield "\nthreshold   objects  largest object  median object  typical object"
    for layer in tried.layers:
        yield (
            f"{layer.threshold:>9g}  {human_count(layer.objects):>8}  {layer.largest_share:>13.1%}"
            f"  {human_count(round(layer.median_vox)):>9} vox  {human_count(layer.typical_vox):>10} vox{_remark(layer)}"
        )
    yield (
        "Lower thresholds merge more. Where the largest object (share of what is segmented) takes over,\n"
        "too much was merged. Half of the segmented voxels lie in objects of the typical size or more:\n"
        "where it is far below that of a cell's part in this box, too little was.\n"
    )
    if tried.made:
        yield f"took      {human_time(tried.cpu_s)} CPU, {human_bytes(tried.peak_bytes)}"
    yield f"layers    {tried.directory}"
    if trial.config.segment.min_size_vox:
        yield "note      segment.min_size_vox isn't applied: sizes are known over all blocks only"


def _remark(layer: LayerFacts) -> str:
    if layer.objects == 0:
        return "  nothing but background"
    if layer.largest_share > 0.5:
        return "  one object holds most of the box"
    return ""


def _as_json(trial: Trial, tried: Tried) -> dict[str, Any]:
    return {
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
        layers, position_vox=(z, y, x), voxel_size_nm=trial.info.voxel_size_nm,
        shape_vox=trial.box.shape, side_by_side=True, open_browser=open_browser, port=port,
    )  # fmt: skip
