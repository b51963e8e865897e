"""``magneton run --thresholds``: a result at each threshold, from one set of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from magneton_tasks.cli.run import here
from magneton_tasks.cli.run.place import EXIT_STOPPED
from magneton_tasks.config.read import load_config
from magneton_tasks.config.thresholds import require_outputs, text_of, with_threshold
from magneton_tasks.errors import EXIT_OK, MagnetonError, UsageError, worst
from magneton_tasks.work.events import Refused

_KEY = "segment.threshold"


def run(
    config: Path, thresholds: Sequence[float], *, sets: dict[str, object], **options: Any
) -> int:
    """Run each by itself; returns the exit code, the worst of all.

    The lowest comes first: the blocks that it needs serve the others. One that fails doesn't stop
    the others. ``options``: those of `here.run`.

    Raises
    ------
    UsageError
        Options that don't go together.
    ConfigError
        The results would write over each other, or the method has no cuts.
    """
    _check_options(sets, options)
    loaded = load_config(config, sets, options.get("partition"))
    require_outputs(loaded, thresholds, str(config))
    codes: dict[float, int] = {}
    for threshold in sorted(thresholds):
        output = with_threshold(loaded, threshold).paths.output
        click.echo(
            f"threshold {text_of(threshold)} ({len(codes) + 1} of {len(thresholds)}): {output}"
        )
        codes[threshold] = _one(config, sets | {_KEY: threshold}, options)
        if codes[threshold] == EXIT_STOPPED:
            return EXIT_STOPPED
    failed = [text_of(threshold) for threshold, code in codes.items() if code != EXIT_OK]
    if failed and len(thresholds) > 1:
        click.echo(f"failed at {', '.join(failed)}; the others are complete", err=True)
    return worst(codes.values())


def _one(config: Path, sets: dict[str, object], options: dict[str, Any]) -> int:
    try:
        return here.run(config, sets=sets, **options)
    except MagnetonError as error:
        told = Refused(error.exit_code, error.what, error.hint)
        click.echo(told.sentence(), err=True)
        return error.exit_code


def _check_options(sets: dict[str, object], options: dict[str, Any]) -> None:
    if _KEY in sets:
        raise UsageError(f"--thresholds and --set {_KEY} contradict each other", "give one of them")
    for name in ("restart", "detach"):
        if options.get(name):
            raise UsageError(
                f"--thresholds with --{name} isn't possible",
                f"run one threshold with --{name}, then the others with --thresholds",
            )
