"""What the documents tell people to type: the lines of their blocks of shell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
#: Lines that something else types, and what.
ELSEWHERE = {"make test": ".ci/run"}
_FENCE = re.compile(r"^\s*(?:```|~~~)\s*(\S*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    language
        Beside the fence; empty where nothing is said.
    lines
        Number in the page and text of each line that isn't empty.
    """

    page: Path
    language: str
    lines: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as a person types it; one that goes on after a backslash is a single one."""

    page: Path
    number: int
    text: str

    @property
    def command(self) -> str:
        """Without the remark behind it."""
        return re.sub(r"\s+#\s.*", "", self.text)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.number}: {self.command}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks, in their order."""
    found: list[Block] = []
    language: str | None = None
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and language is None:
            language, lines = fence[1], []
        elif fence and language is not None:
            found.append(Block(page, language, tuple(lines)))
            language = None
        elif language is not None and line.strip():
            lines.append((number, line))
    assert language is None, f"{page}: a block without an end"
    return found


def commands(page: Path) -> list[Typed]:
    """Every command of every block of shell, from top to bottom."""
    found: list[Typed] = []
    goes_on = False
    for number, line in (it for b in blocks(page) if b.language == "sh" for it in b.lines):
        if goes_on:
            found[-1] = Typed(page, found[-1].number, f"{found[-1].text}\n{line}")
        elif not line.lstrip().startswith("#"):
            found.append(Typed(page, number, line))
        goes_on = line.endswith("\\")
    return found


def to_type(page: Path) -> list[Typed]:
    """`commands` but for those that something else types."""
    return [c for c in commands(page) if c.command not in ELSEWHERE]
