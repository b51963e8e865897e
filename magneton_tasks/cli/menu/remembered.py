"""What the menu remembers from one time to the next: the config and the partitions chosen last.

Kept in ``$XDG_STATE_HOME/magneton/menu.json``. It is a convenience: a file that is broken or
can't be written disturbs nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.as_json import of_json, to_json
from magneton_tasks.errors import OutputError


@dataclass(frozen=True)
class Remembered:
    """``config``: path of the config chosen last; ``partitions``: the last one of each config."""

    config: str | None = None
    partitions: Mapping[str, str] = field(default_factory=dict)


def state_file(environ: Mapping[str, str] = os.environ) -> Path:
    """``menu.json`` in the user's state directory."""
    given = environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "magneton" / "menu.json"


def recall() -> Remembered:
    """What was remembered; nothing where the file isn't there or isn't right."""
    with suppress(OSError, ValueError, RuntimeError):
        return of_json(Remembered, state_file().read_bytes())
    return Remembered()


def remember(config: Path, partition: str | None) -> None:
    """Remember a choice."""
    partitions = dict(recall().partitions)
    if partition is not None:
        partitions[str(config)] = partition
    text = to_json(Remembered(str(config), partitions))
    with suppress(OSError, OutputError, RuntimeError):
        files.write_atomic(state_file(), text)
