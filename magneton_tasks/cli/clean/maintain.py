"""``magneton maintain``: what `clean` frees, for all partitions of a volume, without asking.

`clean.maintain` says what may go. A volume that is being worked on is left alone, and so is whatever
else can't be cleaned now: that is told, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click

from magneton_tasks.base.units import human_bytes
from magneton_tasks.clean import maintain as maintenance
from magneton_tasks.clean import remove as clean_remove
from magneton_tasks.clean.kinds import IN_WORK
from magneton_tasks.cli.clean import elsewhere
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import EXIT_OK, MagnetonError
from magneton_tasks.work.events import Ended, tell
from magneton_tasks.work.paths import WorkPaths


def maintain(config: Path, what: Collection[str], older_than_s: float, dry_run: bool) -> int:
    """Clean a volume; returns the exit code.

    Parameters
    ----------
    what
        Names of `clean.kinds.KINDS`.
    older_than_s
        Only what nothing has written to for this many seconds; containers and jobs whenever.
    dry_run
        List only; nothing at all is written.
    """
    freed = 0
    for loaded in maintenance.volumes(config):
        work = WorkPaths(Path(loaded.paths.work))
        if not work.marker.is_file():
            click.echo(f"{work.work}: nothing there yet")
            continue
        size = sum(_clean(loaded, kind, older_than_s, dry_run) for kind in what)
        click.echo(f"{work.work}: {'would free' if dry_run else 'freed'} {human_bytes(size)}")
        if not dry_run:
            maintenance.note_freed(work, size)
        freed += size
    result = {"config": str(config), "what": list(what), "dry_run": dry_run, "bytes": freed}
    tell(Ended(result))
    return EXIT_OK


def _clean(config: RunConfig, what: str, older_than_s: float, dry_run: bool) -> int:
    """Free one kind; how many bytes it was, or would be."""
    try:
        if what not in IN_WORK:  # of whatever age; it takes none of our bytes
            if elsewhere.is_offered(config, what):
                elsewhere.clean(config, what, None, dry_run, yes=True, as_json=False)
            return 0
        items = maintenance.items(config, what, older_than_s)
        for item in items:
            click.echo(f"{item.path}: {item.kind}, {human_bytes(item.bytes)}: {item.reason}")
        if dry_run or not items:
            return sum(item.bytes for item in items)
        _, removed = clean_remove.run(config, what, older_than_s, items)
    except MagnetonError as error:
        click.echo(f"{config.paths.work}: {what}: left alone: {error.what}")
        return 0
    return removed.bytes
