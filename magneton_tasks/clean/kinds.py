"""What `magneton clean` and maintenance may free, kind by kind: names and meanings, for all who offer them.

`find` looks for what lies in the work directory; `left_behind` for what lies elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that may be freed.

    Attributes
    ----------
    meaning
        For people: after the name, and a colon.
    is_maintained
        Whether maintenance frees it unless it is told otherwise.
    if_verified
        Whether maintenance frees only that of verified runs.
    in_work
        Whether it lies in the work directory.
    """

    name: str
    meaning: str
    is_maintained: bool = True
    if_verified: bool = False
    in_work: bool = True


KINDS = (
    Kind(
        "cache",
        "labels of blocks (overlap), what blocks, faces and rounds left open (exact), pieces of meshes and skeletons, layers of try",
        if_verified=True,
    ),
    # without them another threshold computes all blocks again
    Kind(
        "cuts",
        "labels, supervoxels and names, of which further thresholds are cut (exact)",
        is_maintained=False,
        if_verified=True,
    ),
    # a rerun without them writes the whole output again
    Kind(
        "records",
        "merge checkpoints (pairs, pool tables, tables of cut, records of apply)",
        is_maintained=False,
        if_verified=True,
    ),
    Kind("stale", "results of other settings"),
    Kind("runs", "earlier attempts and their logs"),
    Kind("containers", "containers in the Docker engine whose run is over", in_work=False),
    Kind("jobs", "jobs in a cluster's queue whose run is over", in_work=False),
)
#: All that lies in the work directory, and the records of segment; never by maintenance.
ALL = "all"
NAMES = tuple(kind.name for kind in KINDS)
IN_WORK = (*(kind.name for kind in KINDS if kind.in_work), ALL)
MAINTAINED = tuple(kind.name for kind in KINDS if kind.is_maintained)
IF_VERIFIED = tuple(kind.name for kind in KINDS if kind.if_verified)


def meanings() -> str:
    """All of them in sentences."""
    return " ".join(f"{kind.name}: {kind.meaning}." for kind in KINDS)
