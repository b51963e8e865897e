"""What a command tells while it works: typed events, and the sentence that each of them is for people.

A program that starts commands of ours and reads what they print sets `EVENTS_VARIABLE`: then each event
is one line of JSON, and whoever reads it writes the sentence into the log that people read. Without it
the sentences themselves are printed: to a person's terminal, or into the log of a job on a cluster.
What isn't an event (a library's warning, a traceback) is a line of text, as it was printed.
"""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from magneton_tasks.base.units import human_bytes, human_time, several
from magneton_tasks.errors import MagnetonError
from magneton_tasks.plan.stage_table import noun_of

#: Tells a command that a program reads what it prints.
EVENTS_VARIABLE = "MAGNETON_EVENTS"
#: What a line of an event begins with; no library prints this.
_HEAD = '{"magneton": '
#: Among this many last lines an error tells what a command said at its end.
_LAST_LINES = 8

#: What a note is: something that whoever watches a run should know, or that may be wrong; that it ends.
Level = Literal["notice", "warning", "stopping"]

_is_read = False


@dataclass(frozen=True, slots=True)
class Text:
    """A line that is no event of ours."""

    text: str

    def sentence(self) -> str:
        """The event for people."""
        return self.text


@dataclass(frozen=True, slots=True)
class Began:
    """A batch began: blocks or cells to do, and those that were settled before.

    ``at``: which of several thresholds it works, ``" at 0.3"``; else nothing.
    """

    stage: str
    batch: int
    todo: int
    settled: int
    at: str = ""

    def sentence(self) -> str:
        """The event for people."""
        noun = noun_of(self.stage)
        return f"{self.stage}{self.at} batch {self.batch}: {several(self.todo, noun)} to do, {self.settled:,} settled before"


@dataclass(frozen=True, slots=True)
class Settled:
    """A block or cell is done.

    Attributes
    ----------
    time
        Of its record, in unix seconds.
    seconds, cpu_s, peak_bytes
        Wall time, CPU time and peak memory of the work.
    began
        As of `work.record.Record`.
    passed, total
        How many of its batch are settled, of how many.
    summary
        What the stage says of it.
    at
        As of `Began`.
    """

    stage: str
    key: int
    state: Literal["done", "empty"]
    time: float
    seconds: float
    peak_bytes: int
    passed: int
    total: int
    summary: str = ""
    cpu_s: float | None = None
    at: str = ""
    began: float | None = None

    def sentence(self) -> str:
        """The event for people."""
        parts = [self.state, self.summary, human_time(self.seconds), human_bytes(self.peak_bytes)]
        told = ", ".join(filter(None, parts))
        return f"{self.stage}{self.at} {noun_of(self.stage)} {self.key}: {told} ({self.passed}/{self.total})"


@dataclass(frozen=True, slots=True)
class Failed:
    """A block or cell failed; ``key`` None: something outside any of them did.

    ``before``: in an earlier try, and it isn't tried again. ``at``: as of `Began`.
    """

    stage: str
    key: int | None
    exit_code: int
    cause: str
    hint: str | None = None
    time: float | None = None
    seconds: float | None = None
    before: bool = False
    at: str = ""

    @classmethod
    def of(
        cls,
        stage: str,
        error: MagnetonError,
        key: int | None = None,
        time: float | None = None,
        seconds: float | None = None,
        at: str = "",
    ) -> Failed:
        """What an error says of a stage, or of one block of it."""
        return cls(stage, key, error.exit_code, error.what, error.hint, time, seconds, at=at)

    def headline(self) -> str:
        """What failed and why, without what to do."""
        where = f" {noun_of(self.stage)} {self.key}" if self.key is not None else ""
        where = f"{self.at}{where}"
        if self.before:
            return f"{self.stage}{where}: failed before, and a retry can't fix it: {self.cause}"
        return f"{self.stage}{where}: FAILED ({self.exit_code}): {self.cause}"

    def sentence(self) -> str:
        """The event for people."""
        advice = f"\n  what to do: {self.hint}" if self.hint and not self.before else ""
        return self.headline() + advice


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a runner or a stage says in words, to whoever watches the run."""

    text: str
    level: Level = "notice"

    def sentence(self) -> str:
        """The event for people."""
        return self.text


@dataclass(frozen=True, slots=True)
class Refused:
    """A command ended with an error."""

    exit_code: int
    what: str
    hint: str | None = None

    def error(self) -> MagnetonError:
        """The error that it was."""
        return MagnetonError.ended_with(self.exit_code, self.what, self.hint)

    def sentence(self) -> str:
        """The event for people."""
        return f"error: {self.error()}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A command ended, with its result: plain JSON, which its log repeats as the last line."""

    result: dict[str, Any]

    def sentence(self) -> str:
        """The event for people."""
        return json.dumps(self.result)


Event = Text | Began | Settled | Failed | Note | Refused | Ended
_KINDS = {kind.__name__: kind for kind in (Began, Settled, Failed, Note, Refused, Ended)}


def begin() -> None:
    """At the start of a command: whether a program reads what it tells; what it starts isn't meant."""
    global _is_read
    _is_read = bool(os.environ.pop(EVENTS_VARIABLE, None))


def are_read() -> bool:
    """Whether a program reads what this process tells."""
    return _is_read


def tell(event: Event) -> None:
    """Print an event, at once: for the program that reads it, else for people."""
    print(to_line(event) if _is_read else event.sentence(), flush=True)


def to_line(event: Event) -> str:
    """An event as a line for a program."""
    if isinstance(event, Text):
        return event.text
    return json.dumps({"magneton": type(event).__name__, **asdict(event)})


def read(line: str) -> Event:
    """The event of a line; a `Text` where it is none."""
    if line.startswith(_HEAD):
        try:
            values = json.loads(line)
            return _KINDS[values.pop("magneton")](**values)
        except (ValueError, KeyError, TypeError):  # torn, or of another version
            pass
    return Text(line)


@dataclass
class Told:
    """What a command has told so far.

    Attributes
    ----------
    last
        Its last lines, as people read them.
    result, refused
        How it ended; None where it didn't say.
    """

    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    result: dict[str, Any] | None = None
    refused: Refused | None = None

    def take(self, event: Event) -> list[str]:
        """Take in an event; the lines that a log has of it."""
        if isinstance(event, Ended):
            self.result = event.result
        elif isinstance(event, Refused):
            self.refused = event
        lines = event.sentence().split("\n")
        self.last.extend(line for line in lines if line)
        return lines

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The failures that the result names."""
        return list((self.result or {}).get("failures") or ())
