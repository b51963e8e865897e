"""``magneton tune``: the best threshold and merge function of a box with a truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from magneton_tasks.base import files
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.units import human_bytes, human_count, human_time, several
from magneton_tasks.cli.console import confirm, is_interactive
from magneton_tasks.config.read import load_config
from magneton_tasks.config.template import one_line
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.metadata import VolumeInfo
from magneton_tasks.outcome import threshold_words
from magneton_tasks.runners.warming import ensure_warm
from magneton_tasks.stages.planning.sizes import overlap_of
from magneton_tasks.trials import trial as trials
from magneton_tasks.trials import tuning as stage
from magneton_tasks.trials import tuning_result
from magneton_tasks.trials.cost import expected_cpu_s
from magneton_tasks.trials.trial import EXACT, Trial
from magneton_tasks.trials.truth import truth_info
from magneton_tasks.trials.tuning_plot import draw, require_plotting
from magneton_tasks.trials.tuning_result import Tuning


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What is asked of tune; see `magneton tune --help`."""

    config: Path
    truth: str
    truth_mip: int
    box: Box | None
    functions: tuple[str, ...]
    thresholds: tuple[float, ...]
    plot: Path | None
    sets: dict[str, object]
    partition: str | None


def tune(request: TuneRequest, *, write: bool, as_json: bool) -> None:
    """Score, show, draw, and write the best where it's wanted."""
    require_plotting()  # before minutes of work
    opened: list[VolumeInfo] = []

    def labelled(affinity: VolumeInfo) -> Box:
        opened.append(truth_info(request.truth, request.truth_mip, affinity))
        return opened[0].box

    trial, functions = _trial(request, labelled)
    thresholds = request.thresholds or stage.DEFAULT_THRESHOLDS
    if not as_json:
        for line in _announce(trial, functions, len(thresholds)):
            click.echo(line)
    ensure_warm(partial(click.echo, err=as_json))  # else it's compiled anew each time
    own = None
    if EXACT in functions and not request.thresholds:
        own = trials.own_threshold(trial.using(EXACT), of_map=True)
    tuning = stage.run(trial, opened[0], functions, thresholds, own)
    plot = request.plot or request.config.with_name(f"{request.config.stem}-tune.png")
    proposed = _changes(request, tuning)
    if not as_json:
        for line in (*_table(tuning), *_verdict(tuning, request.sets)):
            click.echo(line)
    _draw(trial, tuning, plot, request.truth)
    if not as_json:
        click.echo(f"curves    {plot}")
        _offer(request.config, proposed, write)
        return
    if write and proposed:
        _write(request.config, proposed)
    more = {
        "truth": request.truth, "plot": str(plot.absolute()), "proposed": proposed,
        "written": bool(write and proposed),
    }  # fmt: skip
    click.echo(json.dumps(tuning_result.as_json(tuning) | more))


def _trial(
    request: TuneRequest, within: Callable[[VolumeInfo], Box]
) -> tuple[Trial, tuple[str, ...]]:
    """The box, and the merge functions; where no box is given, two blocks along each axis if they fit."""

    def opened(blocks: int) -> tuple[Trial, tuple[str, ...]]:
        trial = trials.open_trial(
            request.config, request.sets, request.partition, request.box, within, blocks
        )
        return trial, trials.parse_functions(request.functions or (trial.function,))

    trial, functions = opened(1)
    if request.box is None and any(f != EXACT for f in functions):
        several, _ = opened(2)
        with suppress(ConfigError):  # too large for this machine's memory
            stage.limits(several, functions)
            return several, functions
    return trial, functions


# ------------------------------------------------------------------ words
def _announce(trial: Trial, functions: tuple[str, ...], n: int) -> Iterator[str]:
    shape = " x ".join(map(str, trial.box.shape))
    yield f"box       {trial.box} (zyx): {shape} voxels, {human_count(trial.box.voxels)}"
    cpu_s = 0.0
    for function in functions:
        grid = trial.using(function).grid()
        reads = sum(grid.read(key).voxels for key in range(len(grid)))
        cpu_s += expected_cpu_s(trial, function, reads)
        if function != EXACT and len(grid) > 1:
            yield f"blocks    {function}: {len(grid)}, matched by pool.rule as a run does"
    yield f"tuning    {', '.join(functions)} at {several(n, 'threshold')}, about {human_time(1.5 * cpu_s)} CPU"


def _table(tuning: Tuning) -> Iterator[str]:
    width = max(len("merge function"), *(len(f) for f in tuning.functions))
    yield f"\n{'merge function':<{width}}  threshold  VI split  VI merge      VI   ARAND  segments"
    best = tuning.best
    own = [tuning_result.best_of(tuning.of(f)) for f in tuning.functions]
    for p in tuning.points:
        mark = "  <- best" if p == best else f"  <- best of {p.merge_function}" if p in own else ""
        mark += "  <- what the map asks for" if p == tuning.at_own else ""
        yield (
            f"{p.merge_function:<{width}}  {p.threshold:>9g}  {p.vi_split:>8.3f}  {p.vi_merge:>8.3f}"
            f"  {p.vi:>6.3f}  {p.arand:>6.3f}  {human_count(p.segments):>8}{mark}"
        )
    yield "VI in bits: split grows if objects are cut, merge if they are joined. 0 is perfect.\n"


def _verdict(tuning: Tuning, sets: dict[str, object]) -> Iterator[str]:
    best = tuning.best
    yield (
        f"best      {best.merge_function} at threshold {best.threshold:g}: VI {best.vi:.3f} bits, "
        f"ARAND {best.arand:.3f}, over {several(tuning.labelled_vox, 'labelled voxel')} of "
        f"{several(tuning.objects, 'object')}"
    )
    least = tuning_result.best_of(tuning.points)
    if best != least:
        why = (
            "the map asks for this threshold"
            if best == tuning.at_own
            else "exact is the same on any grid"
        )
        yield (
            f"          {least.merge_function} at {least.threshold:g} has {least.vi:.3f}: a difference "
            f"below {tuning_result.NEAR_BITS:g} bits means nothing, and {why}"
        )
    if tuning.own is not None:
        yield f"map       {threshold_words.words(tuning.own)}"
        for warning in tuning.own.warnings:
            yield f"WARNING   {warning}"
    for cost in tuning.costs:
        yield f"took      {cost.merge_function}: {human_time(cost.cpu_s)} CPU, {human_bytes(cost.peak_bytes)}"
    if sets:
        yield f"note      these scores hold with {', '.join(f'{k}: {v}' for k, v in sets.items())}"
    for remark in tuning_result.remarks(tuning):
        yield f"WARNING   {remark}"


# ------------------------------------------------------------------ files
def _draw(trial: Trial, tuning: Tuning, path: Path, truth: str) -> None:
    size = trial.info.size_words
    name = truth.rstrip("/").rpartition("/")[2]
    title = (
        f"{trial.config.paths.input.rstrip('/').rpartition('/')[2]} against {name}, "
        f"{' x '.join(map(str, trial.box.shape))} voxels of {size} nm at {trial.box.begin} (zyx)"
    )
    files.write_atomic(path, draw(tuning, trial.config.segment.threshold, title))


def _changes(request: TuneRequest, tuning: Tuning) -> dict[str, object]:
    """What the config would have to say, where it doesn't yet; the method first.

    A threshold that the map asks for needn't be written: null takes it.
    """
    config, best = load_config(request.config, {}, request.partition), tuning.best
    segment = config.segment
    is_exact = best.merge_function == EXACT
    wanted: dict[str, object] = {
        "method": "exact" if is_exact else "overlap",
        "segment.threshold": None if best == tuning.at_own else best.threshold,
    }  # fmt: skip
    now: dict[str, object] = {"method": config.method, "segment.threshold": segment.threshold}
    if not is_exact:
        wanted["segment.merge_function"] = best.merge_function
        now["segment.merge_function"] = segment.merge_function
        if config.method == "exact":  # it has no overlap, and the default may not fit its blocks
            wanted["block.overlap"] = list(overlap_of(config.block.size))
            now["block.overlap"] = list(config.block.overlap)
    return {k: v for k, v in wanted.items() if now[k] != v}


def _offer(config: Path, changes: dict[str, object], write: bool) -> None:
    """Write the best into the config where it's wanted, or say how."""
    if not changes:
        click.echo(f"{config} says so already")
        return
    said = ", ".join(f"{k}: {one_line(v)}" for k, v in changes.items())
    if not write and not is_interactive():
        click.echo(f"to use it: {said} in {config} (or this command with --write)")
    elif write or confirm(f"write {said} into {config}?"):
        _write(config, changes)
        click.echo(f"wrote     {said} into {config}; a run will segment all blocks again")


def _write(config: Path, changes: dict[str, object]) -> None:
    from magneton_tasks.config.edit import set_values

    try:
        set_values(config, changes)
    except ConfigError as error:
        raise ConfigError(f"the best was not written: {error.what}", error.hint) from None
