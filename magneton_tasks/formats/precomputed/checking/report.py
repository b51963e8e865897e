"""What a check of a layer found, by part: figures, and problems by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

#: Examples of a kind of problem that are kept; all are counted.
EXAMPLES = 10


@dataclass
class Problem:
    """Problems of one kind.

    Attributes
    ----------
    what
        The kind.
    count
        How many there are.
    examples
        Where the first of them are, and what is wrong there.
    """

    what: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Part:
    """A part of a layer, such as a mip or its meshes.

    Attributes
    ----------
    name
        As people know it.
    figures
        What was counted, by its word.
    problems
        By kind.
    notes
        What was not looked at, and why.
    """

    name: str
    figures: dict[str, int] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, word: str, number: int = 1) -> None:
        """Add to a figure."""
        self.figures[word] = self.figures.get(word, 0) + number

    def wrong(self, what: str, *examples: str, count: int | None = None) -> None:
        """Tell a problem of a kind; ``count`` where there are more than the examples."""
        problem = self.problems.setdefault(what, Problem(what))
        problem.count += max(len(examples), 1) if count is None else count
        problem.examples += examples[: EXAMPLES - len(problem.examples)]

    @property
    def is_right(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class LayerReport:
    """All parts of a layer that were looked at.

    Attributes
    ----------
    url
        As given.
    """

    url: str
    parts: tuple[Part, ...]

    @property
    def is_right(self) -> bool:
        return all(part.is_right for part in self.parts)


def named(ids: Iterable[int], sizes: Iterable[int]) -> list[str]:
    """Objects with their sizes in voxels, as examples."""
    return [f"{i} ({n:,} voxels)" for i, n in zip(ids, sizes, strict=True)]
