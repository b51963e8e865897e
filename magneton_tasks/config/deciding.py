"""Which keys decide results: the one table, for fingerprints and for words about what differs.

A key may be renamed and results stay: what is hashed is its **id**, which never changes. The ids
of the first release are the names that the keys had then. A key that is younger than the results
is hashed only where it differs from what stood for it before it existed, so a new key makes
nobody's results stale. What is hashed is what the run takes: defaults filled in, keys that the
method or the rule doesn't read left out (`plan.fingerprints`).

Each key of the schema stands in `DECIDING`, or in `NOTHING`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from magneton_tasks.base.methods import Choice
from magneton_tasks.config import keys

#: Of a key of the first release: it is hashed, whatever it stands at.
ALWAYS: Final = object()


@dataclass(frozen=True, slots=True)
class Deciding:
    """How a key decides results.

    Attributes
    ----------
    choice
        The first stages whose results it decides; those that follow depend on them.
    id
        What it is called in what is hashed, for ever; its first part is one of `GROUPS`. None: it
        is hashed as what it leads to (see `make_fingerprints`).
    before
        What stood for it before the key existed, as JSON holds it.
    """

    choice: Choice
    id: str | None = None
    before: object = ALWAYS


#: What is hashed together, and the choice that it decides first.
GROUPS: dict[str, Choice] = {
    "input": "segment", "mask": "segment", "exact": "segment", "segment": "segment",
    "pool": "pool", "apply": "apply",
}  # fmt: skip

DECIDING: dict[str, Deciding] = {
    "method": Deciding("segment"),
    "paths.input": Deciding("segment"),
    "paths.output": Deciding("apply"),
    "input.mip": Deciding("segment", "input.mip"),
    "input.channels": Deciding("segment", "input.channels"),
    "input.offset_sign": Deciding("segment", "input.offset_sign"),
    "input.invert": Deciding("segment", "input.invert"),
    "input.scale": Deciding("segment", "input.scale"),
    # by the cuts of the grid
    "box.begin": Deciding("segment"),
    "box.end": Deciding("segment"),
    "block.size": Deciding("segment"),
    "block.overlap": Deciding("segment"),
    "mask.path": Deciding("segment", "mask.path"),
    "mask.mip": Deciding("segment", "mask.mip"),
    "segment.threshold": Deciding("segment", "segment.threshold"),
    "segment.merge_function": Deciding("segment", "segment.merge_function"),
    "segment.supervoxels": Deciding("segment", "segment.supervoxels"),
    "segment.aff_thresholds": Deciding("segment", "segment.aff_thresholds"),
    "segment.interior_threshold": Deciding("segment", "segment.interior_threshold"),
    "segment.min_distance": Deciding("segment", "segment.min_distance"),
    # pool drops small objects
    "segment.min_size_vox": Deciding("pool"),
    "exact.s2": Deciding("segment", "exact.s2"),
    # with the threshold: what blocks merge down to
    "exact.lowest_threshold": Deciding("segment"),
    "exact.advanced.t_low": Deciding("segment", "exact.advanced.t_low"),
    "exact.advanced.t_high": Deciding("segment", "exact.advanced.t_high"),
    "exact.advanced.s_min": Deciding("segment", "exact.advanced.s_min"),
    "exact.advanced.t_size": Deciding("segment", "exact.advanced.t_size"),
    "pool.rule": Deciding("pool", "pool.rule"),
    "pool.min_overlap_vox": Deciding("pool", "pool.min_overlap_vox"),
    "pool.min_frac": Deciding("pool", "pool.min_frac"),
    "pool.min_iou": Deciding("pool", "pool.min_iou"),
    "apply.chunk_size": Deciding("apply", "apply.chunk_size"),
    "apply.encoding": Deciding("apply", "apply.encoding"),
    "apply.compress": Deciding("apply", "apply.compress"),
    # by the factors of the volume's mips
    "apply.mips": Deciding("apply"),
}

#: Sections and keys that decide no result. Content is the business of digests (`input.version`).
NOTHING = (
    "schedule", "partition_format", "wait_for_input", "notify",
    "paths.work", "paths.max_files", "paths.visibility_wait_s",
    "input.version", "input.identity", "pool.largest_object_warning", "exact.dust",
    "runner", "local", "docker", "slurm",
)  # fmt: skip


def decides(key: str, choice: str) -> bool:
    """Whether a key (or ``box``, which may be null) decides results of a choice itself."""
    return any(row.choice == choice for known, row in DECIDING.items() if keys.is_in(known, key))


def before(key: str) -> object:
    """What stood for a younger key before it existed; None for any other."""
    row = DECIDING.get(key)
    return None if row is None or row.before is ALWAYS else row.before
