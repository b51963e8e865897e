"""``magneton status``: what became of a volume, stage by stage and block by block."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from magneton_tasks.errors import EXIT_BAD_DATA, EXIT_OK, UsageError
from magneton_tasks.outcome.status import Status

#: Seconds between two looks of ``--watch``.
WATCH_S = 2.0


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: among a million small objects without cycles it takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def show(
    config: Path,
    partition: str | None,
    as_json: bool,
    *,
    missing: bool = False,
    failed: bool = False,
    slow: int | None = None,
    watch: bool = False,
    check: bool = False,
) -> int:
    """Print the status of a volume; returns the exit code.

    Parameters
    ----------
    missing, failed, slow
        List what is still to do, all that failed, and this many of the slowest blocks.
    watch
        Redraw every 2 s until nothing works on the volume any more, or Ctrl-C.
    check
        Read the files that records name, and verify their checksums. The exit code is 65 where
        some are damaged; damage of the output is marked (`outcome.status_check`).

    Raises
    ------
    NoInputError
        There's no attempt yet.
    UsageError
        ``watch`` without a terminal, or together with what takes long.
    """
    from magneton_tasks.cli.status import text

    if watch:
        if not sys.stdout.isatty():
            raise UsageError(
                "--watch redraws a terminal, and the output isn't one",
                "omit it, or repeat this command: magneton status CONFIG --json",
            )
        if as_json or check:
            raise UsageError(
                "--watch works neither with --json nor with --check", "omit one of them"
            )
        text.watch(Status(config, partition), WATCH_S, missing=missing, failed=failed, slow=slow)
        return EXIT_OK
    with _uncollected():
        status = Status(config, partition, check=check)
    code = EXIT_BAD_DATA if any(s.damage for s in status.stages) else EXIT_OK
    if not as_json:
        text.show(text.lines(status, missing=missing, failed=failed, slow=slow, now=time.time()))
        return code
    data = status.data()
    if missing:
        data["missing"] = list(status.undone())
    if failed:
        data["failed"] = [{"stage": s.stage, **f} for s in status.stages for f in s.failures]
    if slow is not None:
        data["slow"] = status.slowest(slow)
    click.echo(json.dumps(data))
    return code
