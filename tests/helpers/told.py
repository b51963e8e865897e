"""What commands tell: as a stand-in for a command prints it, and as people read it."""

from __future__ import annotations

from typing import Any

from magneton_tasks.work import events
from magneton_tasks.work.events import Event


class Sentences(list[str]):
    """The sentences of all events that it takes."""

    def take(self, event: Event) -> None:
        """Take in an event."""
        self.append(event.sentence())


def result(**values: Any) -> str:
    """The line with a command's result, for the program that reads it."""
    return events.to_line(events.Ended(values))
