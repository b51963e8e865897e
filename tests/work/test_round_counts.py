"""Counts in records: of a run they agree, and whatever gets lost of it is told with its place.

What is counted is a run in memory; each test then loses one thing of what the records would say.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.map_threshold import LEVELS
from magneton_tasks.plan.rounds import Groups, faces_of
from magneton_tasks.work import round_counts
from magneton_tasks.work.round_counts import (
    blocks_cut,
    faces_read,
    none_is_sent,
    objects_made,
    regions_begun,
    sent_is_read,
    voxels_written,
)
from tests.helpers.exact.rounds_in_memory import Run, curve_of, run_rounds
from tests.helpers.exact.whole import regular

SHAPE: Vec3 = (32, 32, 16)
SPAN: Vec3 = (2, 2, 1)
Sent = dict[str, list[int]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Of a smooth random map: 4 x 4 x 2 blocks, three rounds or more."""
    rng = np.random.default_rng(5)
    affinity = rng.integers(0, 256, (3, *SHAPE)).astype(np.float64)
    for axis in (1, 2, 3):
        affinity = (affinity + np.roll(affinity, 1, axis) + np.roll(affinity, -1, axis)) / 3
    stretched = np.clip((affinity - 128) * 6 + 128, 0, 255).astype(np.uint8)
    settings = ExactSettings(threshold=0.3, s2=40)
    found = run_rounds(stretched, regular(SHAPE, (8, 8, 8)), settings, SPAN, [(2, 4, 2), (4, 4, 2)])
    assert len(found.rounds) >= 3
    return found


@pytest.fixture
def groups() -> Groups:
    return Groups.of_span((4, 4, 2), SPAN)


def blocks_of(groups: Groups) -> dict[int, list[int]]:
    return {group: groups.blocks_of(group) for group in range(len(groups))}


def open_regions(run: Run) -> dict[int, int]:
    return {n: int(block.regions.name.size) for n, block in enumerate(run.blocks)}


def begun(run: Run) -> dict[int, int]:
    return {group: int(r.names.old.size) for group, r in run.rounds[0].items()}


def contacts(run: Run) -> dict[tuple[int, int], int]:
    return {face: int(tables.contacts.a.size) for face, tables in run.faces.items()}


def read_faces(run: Run, groups: Groups) -> dict[int, tuple[int, int]]:
    there, found = contacts(run), {}
    for group, blocks in blocks_of(groups).items():
        faces = faces_of(groups.blocks, blocks)
        found[group] = len(faces), sum(there[face] for face in faces)
    return found


def sent_by_fine(run: Run, number: int) -> dict[int, Sent]:
    """What each group of a round sent, by fine group."""
    found: dict[int, Sent] = {}
    for group, result in run.rounds[number].items():
        told: Sent = {}
        for k, at in enumerate((result.nodes.at.astype(np.int64), result.half_at)):
            for fine, rows in zip(*np.unique(run.groups[0][at], return_counts=True), strict=True):
                told.setdefault(str(fine), [0, 0])[k] = int(rows)
        found[group] = told
    return found


def read_by_fine(run: Run, number: int) -> dict[int, Sent]:
    """What each group of a round read: of all that was sent, that for its fine groups."""
    owner = {str(run.groups[0][b]): int(run.groups[number][b]) for b in range(len(run.groups[0]))}
    found: dict[int, Sent] = {}
    for fine, rows in round_counts.added_up(sent_by_fine(run, number - 1).values()).items():
        found.setdefault(owner[str(fine)], {})[str(fine)] = list(rows)
    return found


def told(found: Iterator[str]) -> str:
    """The one sentence."""
    (sentence,) = found
    return sentence


# ------------------------------------------------------------------ a whole run agrees
def test_a_whole_run_agrees_with_itself(run: Run, groups: Groups) -> None:
    faces = {g: faces_of(groups.blocks, b) for g, b in blocks_of(groups).items()}
    assert not list(regions_begun(blocks_of(groups), open_regions(run), begun(run)))
    assert not list(faces_read(faces, contacts(run), read_faces(run, groups)))
    for number in range(1, len(run.rounds)):
        sent, read = sent_by_fine(run, number - 1), read_by_fine(run, number)
        assert not list(sent_is_read(number, sent.values(), read.values()))
        assert read.keys() == run.rounds[number].keys()
    last = len(run.rounds) - 1
    assert not list(none_is_sent(last, sent_by_fine(run, last)))


# ------------------------------------------------------------------ what gets lost
def test_a_lost_group_of_round_0(run: Run, groups: Groups) -> None:
    had = begun(run)
    had.pop(3)
    lost = told(regions_begun(blocks_of(groups), open_regions(run), had))
    assert lost.startswith("round 0, group 3 (blocks ")
    assert "began with 0" in lost


def test_a_lost_region_of_round_0(run: Run, groups: Groups) -> None:
    had = begun(run)
    had[2] -= 1
    lost = told(regions_begun(blocks_of(groups), open_regions(run), had))
    assert "group 2" in lost
    assert f"began with {had[2]:,}" in lost


def test_a_lost_face(run: Run, groups: Groups) -> None:
    """That a group didn't read; that faces didn't make; whose contacts it read in part."""
    faces = {g: faces_of(groups.blocks, b) for g, b in blocks_of(groups).items()}
    there, read = contacts(run), read_faces(run, groups)
    face = next(f for f in faces[1] if there[f])
    unread = read | {1: (read[1][0] - 1, read[1][1] - there[face])}
    assert "round 0, group 1" in told(faces_read(faces, there, unread))
    in_part = read | {1: (read[1][0], read[1][1] - 1)}
    assert f"and it read {read[1][0]}" in told(faces_read(faces, there, in_part))
    unmade = {f: rows for f, rows in there.items() if f != face}
    block, axis = face
    assert f"behind block {block} along {'zyx'[axis]}" in next(faces_read(faces, unmade, read))
    assert "read 0 with 0" in told(faces_read(faces, there, {g: r for g, r in read.items() if g}))


@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_slice(run: Run, number: int) -> None:
    """One source's rows for one fine group."""
    sent, read = sent_by_fine(run, number - 1), read_by_fine(run, number)
    source = next(g for g, rows in sent.items() if rows)
    fine, rows = next(iter(sent[source].items()))
    reader = next(g for g, found in read.items() if fine in found)
    read[reader][fine] = [a - b for a, b in zip(read[reader][fine], rows, strict=True)]
    lost = told(sent_is_read(number, sent.values(), read.values()))
    assert lost.startswith(f"round {number}, fine group {fine}: round {number - 1} sent")


def test_lost_half_edges_alone(run: Run) -> None:
    sent, read = sent_by_fine(run, 0), read_by_fine(run, 1)
    group, fine = next((g, f) for g, rows in read.items() for f in rows if rows[f][1])
    read[group][fine][1] -= 1
    assert f"fine group {fine}" in told(sent_is_read(1, sent.values(), read.values()))


def test_a_lost_group_of_a_later_round(run: Run) -> None:
    sent, read = sent_by_fine(run, 0), read_by_fine(run, 1)
    gone = read.pop(next(iter(read)))
    lost = list(sent_is_read(1, sent.values(), read.values()))
    assert len(lost) == len(gone)
    assert all("0 and 0 were read" in sentence for sentence in lost)


def test_what_is_read_twice(run: Run) -> None:
    sent, read = sent_by_fine(run, 0), read_by_fine(run, 1)
    twice = [*read.values(), next(iter(read.values()))]
    assert list(sent_is_read(1, sent.values(), twice))


def test_a_round_too_few(run: Run) -> None:
    sent = sent_by_fine(run, 0)
    lost = list(none_is_sent(0, sent))
    assert len(lost) == sum(bool(rows) for rows in sent.values())
    assert lost[0].startswith("round 0, group")
    assert "sends" in lost[0]


# ------------------------------------------------------------------ objects and voxels
def objects_at(run: Run, threshold: float) -> tuple[int, int]:
    """(objects, voxels) of a cut."""
    volume = run.cut(least_score(threshold), SPAN)
    return len(np.unique(volume[volume > 0])), int(np.count_nonzero(volume))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.5031, 0.9])
def test_objects_and_voxels_of_a_cut(run: Run, threshold: float) -> None:
    """Of a threshold between two of the curve's, its objects lie between theirs."""
    curve = curve_of(run)
    supervoxels = sum(block.sizes.size - 1 for block in run.blocks)
    merges = supervoxels - curve.objects()
    above = next(k for k, level in enumerate(LEVELS) if level >= threshold)
    below = max(k for k, level in enumerate(LEVELS) if level <= threshold)
    between = int(merges[above]), int(merges[below])
    objects, voxels = objects_at(run, threshold)
    assert not list(objects_made(supervoxels, between, objects, threshold))
    assert list(objects_made(supervoxels, between, int(supervoxels - between[0]) + 1, threshold))
    fewer = told(objects_made(supervoxels, between, int(supervoxels - between[1]) - 1, threshold))
    assert f"cut at {threshold:g}" in fewer
    labelled = sum(int(block.sizes[1:].sum()) for block in run.blocks)
    assert not list(voxels_written(labelled, voxels, 0))
    assert not list(voxels_written(labelled, voxels - 7, 7))
    assert "7 are left out" in told(voxels_written(labelled, voxels - 8, 7))


def test_a_block_that_was_not_cut(run: Run, groups: Groups) -> None:
    supervoxels = {n: int(block.sizes.size - 1) for n, block in enumerate(run.blocks)}
    cut = {g: (b, sum(supervoxels[n] for n in b)) for g, b in blocks_of(groups).items()}
    assert not list(blocks_cut("supervoxels", supervoxels, cut))
    blocks, rows = cut[2]
    lost = cut | {2: (blocks, rows - supervoxels[blocks[0]])}
    assert f"cut, group 2 (blocks {blocks[0]}, " in told(
        blocks_cut("supervoxels", supervoxels, lost)
    )
