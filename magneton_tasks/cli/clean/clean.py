"""``magneton clean``: list, ask, remove, report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import click

from magneton_tasks.base import lease
from magneton_tasks.base.units import human_bytes, human_time, several
from magneton_tasks.clean import find as cleaning
from magneton_tasks.clean import remove as clean_remove
from magneton_tasks.clean.find import Alone, Item, Listing
from magneton_tasks.clean.folders import Removed
from magneton_tasks.clean.kinds import IN_WORK
from magneton_tasks.cli import console
from magneton_tasks.cli.clean import elsewhere
from magneton_tasks.config.read import load_config, require_partition
from magneton_tasks.errors import EXIT_OK, LeaseHeldError, UsageError

#: How many things that stay are told one by one.
_TOLD = 20
_NO_TERMINAL = "add --yes to clean without being asked, or --dry-run to see what would go"


def clean(
    config: Path,
    what: str,
    older_than_s: float | None,
    dry_run: bool,
    yes: bool,
    partition: str | None,
    as_json: bool,
) -> int:
    """Free what can be computed again; returns the exit code.

    Parameters
    ----------
    what
        The name of one of `clean.kinds.KINDS`, or ``all``.
    older_than_s
        Only what nothing has written to for this many seconds.
    dry_run
        List only; nothing at all is written.
    yes
        Don't ask.

    Raises
    ------
    UsageError
        It would ask, and nobody can answer.
    LeaseHeldError
        A pipeline works on this volume.
    ConfigError
        ``paths.work`` isn't a work directory of ours, or lies where it mustn't.
    Quit
        The question was left.
    """
    loaded = load_config(config, partition=partition)
    require_partition(loaded, str(config))
    if not (yes or dry_run):
        if as_json:
            raise UsageError("--json doesn't ask", _NO_TERMINAL)
        console.require_terminal(_NO_TERMINAL)
    if what not in IN_WORK:
        return elsewhere.clean(loaded, what, older_than_s, dry_run, yes, as_json)
    listing = cleaning.find(loaded, what, older_than_s)
    work = Path(loaded.paths.work)
    if not dry_run:
        _refuse_if_held(work)
    if not as_json:
        _tell(_listed(listing, work))
    if dry_run or not listing.items:
        if as_json:
            click.echo(json.dumps(_data(work, what, dry_run, listing)))
        elif dry_run and (held := lease.holder_of(work)) is not None:
            click.echo(f"{held[0]} works on this volume: nothing can be cleaned until it ends")
        return EXIT_OK
    if not yes and not console.confirm(f"free {_amount(listing.items)} in {work}?"):
        raise console.Quit
    found, removed = clean_remove.run(loaded, what, older_than_s, listing.items)
    if as_json:
        click.echo(json.dumps(_data(work, what, dry_run, found, removed)))
    else:
        _tell(_report(removed, listing, work))
    return EXIT_OK


def _refuse_if_held(work: Path) -> None:
    """Before anything is asked; `remove.run` takes the lease itself."""
    held = lease.holder_of(work)
    if held is not None:
        raise LeaseHeldError(
            f"{work} is in use by {held[0]}; its last sign of life was {human_time(held[1])} ago",
            "wait until that run ends, or stop it; --dry-run shows what could be freed",
        )


# ------------------------------------------------------------------ for people
def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _listed(listing: Listing, work: Path) -> Iterator[str]:
    if listing.items:
        yield f"{'kind':<13}{'size':>11}{'files':>10}  {'age':<14}what, in {work}"
        now = time.time()
        for item in listing.items:
            age = human_time(max(now - item.modified_s, 0))
            yield (
                f"{item.kind:<13}{human_bytes(item.bytes):>11}{item.files:>10,}  {age:<14}"
                f"{_name(item.path, work)}: {item.reason}"
            )
        yield f"{'together':<13}{_amount(listing.items)}"
    else:
        yield f"nothing to clean in {work}"
    yield from _stays("kept", listing.kept, work)
    yield from _stays("left alone", listing.alone, work)


def _report(removed: Removed, listing: Listing, work: Path) -> Iterator[str]:
    yield f"freed {human_bytes(removed.bytes)} in {several(removed.files, 'file')}"
    gone = {(item.path, item.kind) for item in removed.items}
    for item in listing.items:
        if (item.path, item.kind) not in gone:
            yield f"kept: {_name(item.path, work)}: changed since it was listed"
    known = {alone.path for alone in listing.alone}
    yield from _stays("left alone", [a for a in removed.alone if a.path not in known], work)


def _stays(word: str, stays: Iterable[Alone], work: Path) -> Iterator[str]:
    stays = list(stays)
    for one in islice(stays, _TOLD):
        yield f"{word}: {_name(one.path, work)}: {one.reason}"
    if len(stays) > _TOLD:
        yield f"{word}: {len(stays) - _TOLD:,} more; --json lists them all"


def _name(path: Path, work: Path) -> str:
    if path == work:
        return str(work)
    return str(path.relative_to(work)) if path.is_relative_to(work) else str(path)


def _amount(items: Iterable[Item]) -> str:
    items = list(items)
    size, count = sum(i.bytes for i in items), sum(i.files for i in items)
    return f"{human_bytes(size)} in {several(count, 'file')}"


# ------------------------------------------------------------------ for programs
def _data(
    work: Path,
    what: str,
    dry_run: bool,
    listing: Listing,
    removed: Removed | None = None,
) -> dict[str, Any]:
    """What ``--json`` prints; ``items`` are those that were removed, or would be."""
    now = time.time()
    items = listing.items if removed is None else removed.items
    alone = {a.path: a for a in (*listing.alone, *(removed.alone if removed else ()))}
    return {
        "work": str(work),
        "what": what,
        "dry_run": dry_run,
        "items": [
            asdict(i) | {"path": str(i.path), "age_s": round(now - i.modified_s, 3)} for i in items
        ],
        "kept": [{"path": str(k.path), "reason": k.reason} for k in listing.kept],
        "left_alone": [{"path": str(a.path), "reason": a.reason} for a in alone.values()],
        "bytes": sum(i.bytes for i in items),
        "files": sum(i.files for i in items),
        "freed_bytes": removed.bytes if removed else 0,
        "freed_files": removed.files if removed else 0,
    }
