"""What faces, rounds and cuts make is what their version numbers stand for.

Each test also knows what the kernel was given. Where only that has changed, an earlier kernel is
another one: bump its number alone, and note the new digests here. Where what was given is the same,
bump the number that the test names: old results mustn't pass for new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.rounds.curve_rows import to_rows
from magneton_tasks.kernels.exact.rounds.tables import NO_SCORE
from tests.helpers.exact.rounds_in_memory import Run, run_rounds
from tests.helpers.exact.volumes import volume
from tests.helpers.exact.whole import Cuts

Column = npt.NDArray[np.generic]

#: Blocks that merge by mean inside, cut off any symmetry.
LARGE: Cuts = [[0, 11, 24], [0, 13, 27], [0, 10, 26]]
#: Blocks of few voxels: basins lie on several faces, and wait for the first round.
SMALL: Cuts = [[0, 2, 5, 9], [0, 3, 4, 8, 12], [0, 2, 4, 9, 11]]
SETTINGS = ExactSettings(0.05, s2=3, t_low=20, t_high=240, s_min=12, t_size=30)
#: Of cuts: through what merged in blocks and in rounds.
THRESHOLDS = (0.05, 0.4, 0.45, 0.48, 0.5, 0.52, 0.54, 0.56)


def digest(columns: Iterable[Column]) -> str:
    found = hashlib.sha256()
    for column in columns:
        found.update(f"{column.shape}".encode() + np.asarray(column).astype("<i8").tobytes())
    return found.hexdigest()[:16]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Runs over three rounds or more."""
    made = [("smooth", LARGE), ("coarse", SMALL), ("noise", SMALL)]
    return [
        run_rounds(
            volume(kind, (z[-1], y[-1], x[-1]), 5),
            (z, y, x),
            SETTINGS,
            (1, 1, 1),
            ((1, 1, 2), (2, 2, 2), (4, 4, 4)),
        )
        for kind, (z, y, x) in made
    ]


def blocks(runs: list[Run]) -> Iterable[Column]:
    for block in (block for run in runs for block in run.blocks):
        yield from (block.labels, block.sizes, *block.supervoxels, *block.regions)
        yield from (p for face in block.faces.values() for p in face if p is not None)
        residual = block.residual
        yield from (*residual.edges, *residual.basins, *residual.pairs)


def faces(runs: list[Run]) -> Iterable[Column]:
    for run in runs:
        for _, tables in sorted(run.faces.items()):
            for table in tables[:-1]:
                yield from table
            yield tables.large


def rounds(runs: list[Run]) -> Iterable[Column]:
    for result in (run[group] for r in runs for run in r.rounds for group in sorted(run)):
        yield from (*result.names, *result.nodes, *result.half, result.half_at)
        yield from to_rows(result.curve)


def check(given: str, known: str, made: str, expected: str) -> None:
    """Digests of what a kernel was given and made, and those of its version."""
    assert given == known, "an earlier kernel changed: bump its number, then note what is given now"
    assert made == expected, "results changed: bump the number of this kernel"


def test_faces_are_those_of_the_kernel_version(runs: list[Run]) -> None:
    """A failure here means: bump versions.EXACT_FACES, see above."""
    assert versions.EXACT_FACES == 1
    tables = [t for run in runs for t in run.faces.values()]
    for kind in range(5):
        assert sum(t[kind][0].size for t in tables) > 20, f"no rows of table {kind}"
    assert sum(t.large.size for t in tables) > 5
    check(digest(blocks(runs)), "cef5e5328c9ae625", digest(faces(runs)), "b7d51412af148e7b")


def test_rounds_are_those_of_the_kernel_version(runs: list[Run]) -> None:
    """A failure here means: bump versions.EXACT_ROUNDS, see above."""
    assert versions.EXACT_ROUNDS == 2
    for run in runs:
        assert len(run.rounds) >= 3
    later = [result for run in runs for tasks in run.rounds[1:] for result in tasks.values()]
    assert sum(result.merges for result in later) > 5
    assert sum(result.half.u.size for result in later) > 20
    check(
        digest([*blocks(runs), *faces(runs)]),
        "3ceecd54fbbad7d8",
        digest(rounds(runs)),
        "571fc0159708e1ab",
    )


def test_cuts_are_those_of_the_kernel_version(runs: list[Run]) -> None:
    """A failure here means: bump versions.EXACT_CUT, see above."""
    assert versions.EXACT_CUT == 1
    found = [run.cut_and_sizes(least_score(t)) for run in runs for t in THRESHOLDS]
    objects = [np.unique(ids).size for ids, _ in found]
    assert len(set(objects)) > 12
    regions = [block.regions for block in runs[0].blocks]
    assert sum(int((nodes.low < NO_SCORE).sum()) for nodes in regions) > 20, "none merged in blocks"
    cuts = digest(column for pair in found for column in pair)
    check(digest([*blocks(runs), *rounds(runs)]), "e7ed627d5d8f8507", cuts, "29d12d7f1377f1b4")
