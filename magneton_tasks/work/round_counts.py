"""What proves that no slice, face or group got lost: counts in records, and what must agree; pure.

Each comparison returns a sentence (what, where, what to do), or None where it holds. Pool makes
them before it fixes the cut, and verify again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Rows by destination or source: fine groups, as text where JSON needs it.
Rows = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """Of a block (segment)."""

    supervoxels: int
    open_regions: int
    voxels: int
    """Labelled."""
    merges: int


@dataclass(frozen=True, slots=True)
class FaceCounts:
    """Of the high faces of a block."""

    faces: int
    contacts: int


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """Of a group of a round.

    Attributes
    ----------
    own
        Regions that it began with.
    faces
        Faces that it read (round 0).
    read_nodes, read_half
        Rows that it read of each fine group's slices.
    sent_nodes, sent_half
        Rows that it sent to each fine group.
    merges
        By mean linkage.
    """

    own: int
    merges: int
    faces: int = 0
    read_nodes: Rows = field(default_factory=dict)
    read_half: Rows = field(default_factory=dict)
    sent_nodes: Rows = field(default_factory=dict)
    sent_half: Rows = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CutCounts:
    """Of a group that was cut at a threshold."""

    supervoxels: int
    objects: int
    voxels: int


def sent_is_read(
    round_: int, sent: Sequence[RoundCounts], read: Mapping[int, RoundCounts]
) -> str | None:
    """Whether what round ``round_ - 1`` sent to each fine group is what ``round_`` read of it."""
    raise NotImplementedError


def none_is_left(last: int, sent: Mapping[int, RoundCounts]) -> str | None:
    """Whether the last round sent nothing."""
    raise NotImplementedError


def open_regions_are_owned(
    blocks: Mapping[int, Sequence[int]],
    of_blocks: Mapping[int, BlockCounts],
    round_0: Mapping[int, RoundCounts],
) -> str | None:
    """Whether each group of round 0 began with the open regions of its blocks (``blocks``: by group)."""
    raise NotImplementedError


def objects_add_up(supervoxels: int, merges: int, objects: int, threshold: float) -> str | None:
    """Whether objects = supervoxels - merges at or above a threshold."""
    raise NotImplementedError


def voxels_add_up(of_objects: int, of_blocks: int, written: int, left_out: int) -> str | None:
    """Whether objects have the labelled voxels of all blocks, and those are written or left out."""
    raise NotImplementedError
