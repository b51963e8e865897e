"""What maintenance cleans of a volume by itself: all its partitions, and only what nobody may miss.

`clean.kinds` says which kinds that are, and of which of them only those of verified runs go.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.clean.find import Item, find
from magneton_tasks.clean.kinds import IF_VERIFIED
from magneton_tasks.clean.names import TRY_DIR
from magneton_tasks.clean.needed import needed
from magneton_tasks.config.read import RunConfig, load_config, uses_partition
from magneton_tasks.work.attempts import at_partitions
from magneton_tasks.work.paths import WorkPaths


def volumes(config: Path) -> Iterator[RunConfig]:
    """The config for each partition that has a work directory."""
    loaded = load_config(config)
    if "{partition}" in loaded.paths.work:
        for partition in at_partitions(loaded.paths.work):
            yield load_config(config, partition=partition)
    elif not uses_partition(loaded):
        yield loaded


def items(config: RunConfig, what: str, older_than_s: float) -> list[Item]:
    """What may go without a question, of one kind of `kinds.IN_WORK`."""
    verified = needed(config, what).verified
    return [
        item
        for item in find(config, what, older_than_s).items
        if item.kind not in IF_VERIFIED
        or item.path.name in verified
        or TRY_DIR.fullmatch(item.path.name)
    ]


def note_freed(work: WorkPaths, n_bytes: int) -> None:
    """Keep what was freed, and when: the page of volumes shows it."""
    content = {"bytes": n_bytes, "time": time.time()}
    files.write_atomic(work.freed, json.dumps(content).encode())
