"""What the documents tell people to type: the lines of their blocks of shell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
#: Lines that something else types, and what.
ELSEWHERE = {"make test": ".ci/run"}
#: Beginnings of commands of the documents that no test types as they stand, and why.
BY_HAND = {
    "sudo -u postgres": "needs root, and a server that nobody else uses",
    "make up DB=": "needs the database of the line before; tests/e2e has one of its own",
    "mkdir -p ~/.config/systemd": "needs systemd and a user who logs in",
    "cp systemd/": "the same",
    "echo 'MAGNETON_CONFIGS=": "the same",
    "systemctl --user": "the same",
    "loginctl": "the same",
    "make image": "needs a Docker engine: tests/cluster/docker has one",
    "magneton run volume.yaml --runner docker": "the same",
    "docker ": "the same",
    "cp docker/": "the same",
    "curl ": "needs a token and a port; tests/e2e asks REST the same",
}
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
