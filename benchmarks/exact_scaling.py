"""How rounds and cuts grow with the number of blocks: rows, rounds, memory, names that cuts open.

Volumes of real affinities (pub128 mirrored, else the sample) in 64 and 512 blocks of 32^3, all of
their rounds planned with one budget of rows; ``--full`` also 4,096 blocks. Each task of faces, rounds
and cut is a child forked for it, whose peak counts above that of one that finds all of it done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from benchmarks.in_process import done, stages
from benchmarks.measure import Row, forked, row
from benchmarks.volumes import VOXEL_SIZE_NM, mirrored, source, write_config

BLOCK = 32
#: Rows that a task may read.
BUDGET = 60_000
MIB = 1 << 20
MOST_MIB, MOST_GROWTH, MOST_NAMES_GROWTH = 150, 1.1, 1.5


@dataclass
class Grown:
    """What one volume took."""

    blocks: int
    labels: int = 0
    names_opened: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    #: (tasks, rows of all, rows of the largest) of each round
    rounds: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def largest_bytes(self) -> int:
        """Of the tasks of faces and rounds."""
        return max(b for stage, b in self.peaks.items() if stage != "cut")


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    found = []
    for per_axis in (4, 8, *((16,) if full else ())):
        with TemporaryDirectory() as directory:
            found.append(_grown(Path(directory), per_axis))
    rows = [line for grown in found for line in _rows(grown)]
    before, last = found[-2:]
    names = (last.names_opened / last.labels) / (before.names_opened / before.labels)
    title = f"{last.blocks} blocks / {before.blocks} blocks"
    return [
        *rows,
        row(
            f"largest task of faces and rounds, {title}",
            last.largest_bytes / before.largest_bytes,
            "x",
            most=MOST_GROWTH,
        ),
        row(f"rows of names opened a label, {title}", names, "x", most=MOST_NAMES_GROWTH),
    ]


def _rows(grown: Grown) -> list[Row]:
    told = f"{grown.blocks} blocks of {BLOCK}^3, budget {BUDGET:,} rows"
    return [
        row(
            f"{told}: largest task of faces and rounds above an idle one",
            grown.largest_bytes / MIB,
            "MiB",
            most=MOST_MIB,
        ),
        *(row(f"  {stage}", peak / MIB, "MiB") for stage, peak in grown.peaks.items()),
        *(
            row(f"  round {n}: rows of all tasks", rows, "", tasks=tasks, largest=largest)
            for n, (tasks, rows, largest) in enumerate(grown.rounds)
        ),
        row("  rows of names opened by cut, a label", grown.names_opened / grown.labels, ""),
    ]


def _grown(directory: Path, per_axis: int) -> Grown:
    from magneton_tasks.stages.planning import group_work

    forked(lambda: _write(directory, per_axis))
    config = write_config(
        directory,
        {
            "method": "exact",
            "block": {"size": [BLOCK] * 3},
            "segment": {"threshold": 0.3},
            "apply": {"mips": 0},
            "local": {"workers": 1},
        },
    )
    grown = Grown(per_axis**3)
    with patch.object(group_work, "budget_of", lambda *_: BUDGET), _children(grown):
        paths = stages(config, last="cut")
    work = paths.root.parents[2]
    grown.labels = sum(r["info"]["n"] for r in done(work, "segment-*"))
    grown.rounds = list(_round_rows(work))
    return grown


def _write(directory: Path, per_axis: int) -> None:
    from magneton_tasks.formats.precomputed.write import write_volume

    affinity = mirrored(source(), (BLOCK * per_axis,) * 3)
    write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)


def _round_rows(work: Path) -> Iterator[tuple[int, int, int]]:
    number = 0
    while records := done(work, f"rounds-*/{number}"):
        rows = [_read(r["info"]) for r in records]
        yield len(rows), sum(rows), max(rows)
        number += 1


def _read(info: dict[str, Any]) -> int:
    """Rows that a task read: of round 0 what it has of its own, later what was sent."""
    if "read" in info:
        return int(sum(sum(rows) for rows in info["read"].values()))
    return int(info["n"] + info["rows"].get("contacts", 0))


@contextmanager
def _children(grown: Grown) -> Iterator[None]:
    """Every task of faces, rounds and cut in a child, which is measured."""
    from magneton_tasks.cli.run import stages as commands

    real = commands.run_mapped

    def run_mapped(stage: str, *arguments: Any) -> int:
        if stage not in ("faces", "cut") and not stage.startswith("round"):
            return real(stage, *arguments)
        (code, opened), used = forked(lambda: _counting(real, stage, *arguments))
        _, idle = forked(lambda: real(stage, *arguments))  # finds that all is done
        peak = used.peak_bytes - idle.peak_bytes
        grown.peaks[stage] = max(grown.peaks.get(stage, 0), peak)
        grown.names_opened += opened if stage == "cut" else 0
        return int(code)

    with patch.object(commands, "run_mapped", run_mapped):
        yield


def _counting(real: Any, *arguments: Any) -> tuple[int, int]:
    """The exit code of a task, and rows of names that it opened."""
    from magneton_tasks.kernels.exact.rounds.tables import Names
    from magneton_tasks.stages.slicing import SliceReader

    opened = 0
    read = SliceReader.read

    def counted(*inner: Any, **named: Any) -> Any:
        nonlocal opened
        found = read(*inner, **named)
        opened += sum(len(table.old) for table in found if isinstance(table, Names))
        return found

    with patch.object(SliceReader, "read", counted):
        return real(*arguments), opened
