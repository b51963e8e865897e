"""What proves that no slice, group, face or object got lost: counts in records that must agree; pure.

::

    blocks --open regions--> round 0 --sent = read--> round 1 --sent = read--> ... none is sent
    faces  --contacts------>
    supervoxels - merges = objects         voxels of blocks = of objects = written + left out

Each function yields sentences that say what doesn't agree, and where; none where all does. Pool asks
before it fixes the cut, and verify again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

#: (regions, half-edges) by fine group, as records have them.
Sent = Mapping[str, Sequence[int]]

#: What to do about any of them.
HINT = "rerun with --restart: blocks and rounds are made again; this shouldn't happen, so please report it"
#: Blocks or groups that a sentence names.
_NAMED = 5


def regions_begun(
    blocks_of: Mapping[int, Sequence[int]], open_: Mapping[int, int], had: Mapping[int, int]
) -> Iterator[str]:
    """Whether each group of round 0 began with the open regions of its blocks.

    Parameters
    ----------
    blocks_of
        Blocks of all groups that there are, by group.
    open_
        Open regions of each block; those without any may be left out.
    had
        Regions that each group began with; a group without any may be left out.
    """
    for group, blocks in blocks_of.items():
        expected, found = sum(open_.get(block, 0) for block in blocks), had.get(group, 0)
        if expected != found:
            yield (
                f"round 0, group {group} ({_named('block', blocks)}): its blocks leave {expected:,} "
                f"regions open, and it began with {found:,}"
            )


def faces_read(
    faces_of: Mapping[int, Sequence[tuple[int, int]]],
    there: Mapping[tuple[int, int], int],
    read: Mapping[int, tuple[int, int]],
) -> Iterator[str]:
    """Whether each group of round 0 read all contacts of all faces of its blocks.

    Parameters
    ----------
    faces_of
        Faces, (block on the low side, axis), of each group that has something to do.
    there
        Contacts of each face that the stage faces made.
    read
        (faces, contacts) that each group read.
    """
    for group, faces in faces_of.items():
        lost = [face for face in faces if face not in there]
        for block, axis in lost[:_NAMED]:
            yield f"faces: the one behind block {block} along {'zyx'[axis]} isn't there"
        expected = len(faces), sum(there.get(face, 0) for face in faces)
        found = read.get(group, (0, 0))
        if not lost and expected != found:
            yield (
                f"round 0, group {group}: its blocks have {expected[0]:,} faces with {expected[1]:,} "
                f"contacts, and it read {found[0]:,} with {found[1]:,}"
            )


def sent_is_read(number: int, sent: Iterable[Sent], read: Iterable[Sent]) -> Iterator[str]:
    """Whether a round read what the one before sent to each fine group.

    Parameters
    ----------
    number
        Of the round that read.
    sent, read
        Of each group of the round before, and of this one.
    """
    was_sent, was_read = added_up(sent), added_up(read)
    for fine in sorted(was_sent.keys() | was_read.keys()):
        expected, found = was_sent.get(fine, (0, 0)), was_read.get(fine, (0, 0))
        if expected != found:
            yield (
                f"round {number}, fine group {fine}: round {number - 1} sent {expected[0]:,} regions "
                f"and {expected[1]:,} half-edges there, and {found[0]:,} and {found[1]:,} were read"
            )


def none_is_sent(last: int, sent: Mapping[int, Sent]) -> Iterator[str]:
    """Whether the last round left nothing open; ``sent``: of each of its groups."""
    for group, rows in sent.items():
        nodes, half = map(sum, zip((0, 0), *rows.values(), strict=True))
        if nodes or half:
            yield (
                f"round {last}, group {group}: it is the last round, and sends {nodes:,} regions "
                f"and {half:,} half-edges"
            )


def objects_made(
    supervoxels: int, merges: tuple[int, int], objects: int, threshold: float
) -> Iterator[str]:
    """Whether what isn't merged is an object each.

    Parameters
    ----------
    merges
        At the next threshold of the curve above (or at) the cut's, and below (or at) it: between
        these two lie those of the cut.
    objects
        That were cut.
    """
    fewest, most = supervoxels - merges[1], supervoxels - merges[0]
    if not fewest <= objects <= most:
        expected = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        yield (
            f"cut at {threshold:g}: {supervoxels:,} supervoxels and their merges make {expected} "
            f"objects, and {objects:,} were cut"
        )


def blocks_cut(
    what: str, of_blocks: Mapping[int, int], groups: Mapping[int, tuple[Sequence[int], int]]
) -> Iterator[str]:
    """Whether each group was cut with all that its blocks hold.

    Parameters
    ----------
    what
        Is counted: ``supervoxels``, ``voxels``.
    of_blocks
        Of each block.
    groups
        Blocks of each group, and what it was cut with.
    """
    for group, (blocks, found) in groups.items():
        expected = sum(of_blocks.get(block, 0) for block in blocks)
        if expected != found:
            yield (
                f"cut, group {group} ({_named('block', blocks)}): its blocks have {expected:,} {what}, "
                f"and it was cut with {found:,}"
            )


def voxels_written(of_blocks: int, written: int, left_out: int) -> Iterator[str]:
    """Whether each labelled voxel of a block is in the volume, or in an object below ``min_size_vox``.

    Parameters
    ----------
    written
        Voxels of mip 0 that have a global id.
    left_out
        Of objects that `segment.min_size_vox` leaves out.
    """
    if of_blocks != written + left_out:
        also = f" and {left_out:,} are left out" if left_out else ""
        yield (
            f"apply: blocks have {of_blocks:,} labelled voxels, {written:,} are in the volume{also}"
        )


def added_up(records: Iterable[Sent]) -> dict[int, tuple[int, int]]:
    """(regions, half-edges) of all records by fine group."""
    total: dict[int, tuple[int, int]] = {}
    for record in records:
        for fine, (nodes, half) in record.items():
            known = total.get(int(fine), (0, 0))
            total[int(fine)] = known[0] + nodes, known[1] + half
    return total


def _named(noun: str, numbers: Sequence[int]) -> str:
    some = ", ".join(map(str, numbers[:_NAMED])) + (", ..." if len(numbers) > _NAMED else "")
    return f"{noun}{'' if len(numbers) == 1 else 's'} {some}"
