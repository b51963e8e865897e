"""Which keys each choice doesn't read, and what to say where one is set all the same."""

from __future__ import annotations

from magneton_tasks.config.keys import split
from magneton_tasks.config.types import Section

#: By choice (a dotted key) and its value, the sections and dotted keys that aren't read.
UNREAD: dict[str, dict[str, tuple[str, ...]]] = {
    "method": {
        "overlap": ("exact",),
        "exact": (
            "block.overlap", "segment.merge_function", "segment.supervoxels",
            "segment.aff_thresholds", "segment.interior_threshold", "segment.min_distance",
            "pool.rule", "pool.min_overlap_vox", "pool.min_frac", "pool.min_iou",
        ),
    },
    "segment.supervoxels": {
        "waterz": ("segment.interior_threshold", "segment.min_distance"),
        "3d": ("segment.aff_thresholds",),
        "2d": ("segment.aff_thresholds",),
    },
    "pool.rule": {
        "mutual": ("pool.min_iou",),
        "both": ("pool.min_iou", "pool.min_overlap_vox"),
        "any": ("pool.min_iou", "pool.min_overlap_vox"),
        "iou": ("pool.min_frac", "pool.min_overlap_vox"),
    },
}  # fmt: skip
#: What to do about such a key in a file.
ADD_METHOD = (
    "Add a line: `method: overlap` keeps what waterz made; `method: exact`, without this key, "
    "computes it again"
)
CHANGE_METHOD = "remove it or change method"


def unread_keys(choice: str, value: object) -> tuple[str, ...]:
    """The sections and dotted keys that aren't read once a choice has a value; none of other keys."""
    return UNREAD.get(choice, {}).get(str(value), ())


def refuse_unread(section: Section, choice: str) -> None:
    """Refuse keys of a section that its own choice doesn't read."""
    _, selector = split(choice)
    value = getattr(section, selector)
    for key in unread_keys(choice, value):
        _, leaf = split(key)
        if leaf in section.model_fields_set:
            readers = ", ".join(v for v, keys in UNREAD[choice].items() if key not in keys)
            raise ValueError(
                f"{leaf} is not read by {selector}: {value} (only by {readers}); remove it or change {selector}"
            )
