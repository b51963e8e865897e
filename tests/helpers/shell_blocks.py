"""What the documents tell people to type: the lines of their blocks of shell, and who tries them.

A block of README is typed by tests/e2e/test_readme.py, one of docs/ by `ANYWHERE`, unless the line
above its fence names another test, or says why nobody can::

    <!-- typed by tests/e2e/test_schedules.py -->
    <!-- by hand (site): why it can't be tried on a machine of ours -->
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
#: Lines that something else types, and what.
ELSEWHERE = {"make test": ".ci/run"}
#: Types README from top to bottom.
OF_README = "tests/e2e/test_readme.py"
#: Types what needs neither an Airflow nor a cluster.
ANYWHERE = "tests/e2e/test_typed_documents.py"
#: What alone excuses a block that no test types.
EXCUSES = ("hardware", "site", "account")
_FENCE = re.compile(r"^\s*(?:```|~~~)\s*(\S*)")
_MARK = re.compile(r"\s*<!-- (?:typed by (\S+)|by hand \((\w+)\): (\S.*)) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    language
        Beside the fence; empty where nothing is said.
    lines
        Number in the page and text of each line that isn't empty.
    above
        The line above the fence.
    """

    page: Path
    language: str
    lines: tuple[tuple[int, str], ...]
    above: str

    @property
    def test(self) -> str | None:
        """The file of the test that types it; None: it says why there is none."""
        mark = _MARK.fullmatch(self.above)
        if mark is None:
            return OF_README if self.page == README else ANYWHERE
        return mark[1]

    @property
    def excuse(self) -> tuple[str, str] | None:
        """Why no test types it: of which kind, and in words."""
        mark = _MARK.fullmatch(self.above)
        return (mark[2], mark[3]) if mark is not None and mark[2] else None

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.lines[0][0] if self.lines else '?'}"


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
    above = before = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and language is None:
            language, lines, above = fence[1], [], before
        elif fence and language is not None:
            found.append(Block(page, language, tuple(lines), above))
            language = None
        elif language is not None and line.strip():
            lines.append((number, line))
        before = line
    assert language is None, f"{page}: a block without an end"
    return found


def shown_to(test: str, *pages: str) -> list[Block]:
    """The blocks of shell that a test types, page by page in their order.

    Parameters
    ----------
    test
        Its ``__file__``.
    pages
        Names of pages; none: all.
    """
    name = str(Path(test).resolve().relative_to(ROOT))
    chosen = [page for page in PAGES if not pages or page.name in pages]
    return [b for page in chosen for b in blocks(page) if b.language == "sh" and b.test == name]


def typed(
    shown: Sequence[Block],
    cwd: Path,
    environ: Mapping[str, str],
    answers: Sequence[str] = (),
    who: Mapping[str, Any] | None = None,
) -> str:
    """What a shell prints that all of the blocks are typed into.

    Parameters
    ----------
    answers
        A line for each question.
    who
        Whose shell it is: arguments of `subprocess.Popen`; None: this user's.

    Raises
    ------
    AssertionError
        A command failed: the last one that is shown, after a plus.
    """
    script = "\n".join(block.text for block in shown)
    done: subprocess.CompletedProcess[str] = subprocess.run(
        ["bash", "-exc", script],
        cwd=cwd,
        env=dict(environ),
        check=False,
        text=True,
        input="".join(f"{answer}\n" for answer in answers),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **(who or {}),
    )
    assert done.returncode == 0, f"{', '.join(map(str, shown))}\n{done.stdout}"
    return done.stdout


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
