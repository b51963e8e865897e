"""Removes what `clean.find` found, while holding the volume's lease."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from dataclasses import replace
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.lease import acquire
from magneton_tasks.clean.find import Item, Listing, find
from magneton_tasks.clean.folders import Removed, Remover
from magneton_tasks.clean.names import require_marker
from magneton_tasks.config.read import RunConfig
from magneton_tasks.stages.planning import checks, rights
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import WorkPaths
from magneton_tasks.work.pieces import PIECES
from magneton_tasks.work.record import Info
from magneton_tasks.work.record_writer import TICK_S


def run(
    config: RunConfig,
    what: str,
    older_than_s: float | None = None,
    only: Collection[Item] | None = None,
) -> tuple[Listing, Removed]:
    """Find and remove, while holding the volume's lease.

    Parameters
    ----------
    only
        Of what is found now, only what was listed so before (by path and kind).

    Returns
    -------
    tuple
        What was found, and what became of it.

    Raises
    ------
    LeaseHeldError
        A pipeline works on this volume.
    ConfigError, NoInputError, TemporaryError, OutputError
        As `find`; OutputError also where something can't be removed.
    """
    work = WorkPaths(Path(config.paths.work))
    require_marker(work)  # before the lease writes there
    checks.check_paths(config, write=False)
    lease = acquire([work.work], f"clean-{files.unique_suffix()}", process_bound=True)
    with lease, lease.kept() as heart:
        listing = find(config, what, older_than_s)
        asked = None if only is None else {(item.path, item.kind) for item in only}
        items = [i for i in listing.items if asked is None or (i.path, i.kind) in asked]
        rights.check_removal(work.work / part for item in items for part in item.parts)
        return listing, remove(work.work, items, heart.check)


def remove(work: Path, items: Collection[Item], check: Callable[[], None]) -> Removed:
    """Remove items of a work directory whose lease is held; ``check`` raises once it is lost."""
    with Remover(work) as remover:
        for item in items:
            check()
            if item.kind in ("cache", "cuts") and all("/" in part for part in item.parts):
                parts = [Path(part) for part in item.parts]
                for folder in sorted({part.parent for part in parts}):
                    gone = {_kind_of(p.name) for p in parts if p.parent == folder}
                    mark_cleaned(work / folder / "records", _stage_of(folder), gone)
            remover.remove(item)
        return remover.removed


def _stage_of(folder: Path) -> str:
    """``segment``, or a round, by the folder that holds its records."""
    return f"round{folder.name}" if folder.name.isdigit() else folder.name.partition("-")[0]


def _kind_of(name: str) -> str:
    """What records call a file, or a folder of files, in their ``files``."""
    folders = {"labels.zarr": "labels", "residuals": "residual", "cells": PIECES}
    return folders.get(name, name.partition("-")[0])


def mark_cleaned(records: Path, stage: str, gone: Set[str]) -> int:
    """Let the records of blocks or groups say that some of their files are gone; how many there are.

    Such a block counts as done, because what it held is known by its digest, until something has to
    be done that reads it: see `work.todo`.

    Parameters
    ----------
    gone
        Kinds of files.
    """
    lines = []
    for _, state in sorted(Manifest(records).read().items()):
        record = state.valid
        if record is None or not gone & record.info.get("files", {}).keys():
            continue
        info = record.info | Info(cleaned=True)
        info["files"] = {k: v for k, v in info["files"].items() if k not in gone}
        if not info["files"]:
            del info["files"]
        if "slices" in info:
            info["slices"] = {k: v for k, v in info["slices"].items() if k not in gone}
        cleaned = replace(record, time=round(record.time + TICK_S, 6), info=info)
        lines.append(cleaned.to_line().encode("ascii") + b"\n")
    if lines:
        files.write_atomic(records / f"clean-{stage}--1-0-{files.unique_suffix()}.jsonl", lines)
    return len(lines)
