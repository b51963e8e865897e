"""The table of an import: what became of each key of the old file, and what the new one gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from magneton_tasks.config.menu_tool.old_config import OldKey

Fate = Literal["carried", "translated", "left out", "unknown", "added"]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: an old key, its value, and what became of it."""

    key: str
    value: Any
    fate: Fate
    text: str


@dataclass(slots=True)
class Translation:
    """The new config's values by dotted key, notes on them, and the table."""

    old: Sequence[OldKey]
    values: dict[str, object] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)
    added: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def take(self, *names: str) -> tuple[int, Any] | None:
        """Position and value of the key of one of these names; the last one counts, as in YAML."""
        found = [n for n, old in enumerate(self.old) if old.name in names and old.value is not None]
        for name in names:  # of two names of one thing the first
            of_name = [n for n in found if self.old[n].name == name]
            if of_name:
                for n in found:
                    if n != of_name[-1]:
                        self.say(
                            n,
                            "left out",
                            f"{self.old[of_name[-1]].key} stands for the same, and counts",
                        )
                return of_name[-1], self.old[of_name[-1]].value
        return None

    def say(self, n: int, fate: Fate, text: str) -> None:
        self.rows[n] = Row(self.old[n].key, self.old[n].value, fate, text)

    def set(self, n: int, key: str, value: object, why: str = "") -> None:
        """Set a key of the new config from the n-th old one."""
        same = value == self.old[n].value
        shown = f"{key}: {_plain(value)}" + (f" ({why})" if why else "")
        self.say(n, "carried" if same else "translated", shown)
        self.values[key] = value
        if why:
            self.notes[key] = [why]

    def add(self, key: str, value: object, why: str) -> None:
        """Set a key that the old file had none for."""
        self.values[key] = value
        self.notes[key] = [why]
        self.added.append(Row("-", None, "added", f"{key}: {_plain(value)} ({why})"))

    def table(self) -> list[Row]:
        return [self.rows[n] for n in sorted(self.rows)] + self.added


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
