"""The sections that say how to segment, join and write, and which of their keys each choice reads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.base.methods import RuleName, Supervoxels
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.config.keys import split
from magneton_tasks.config.types import Fraction, NonNegativeInt, Positive3, PositiveInt, Section
from magneton_tasks.errors import ConfigError

#: What ``segment.threshold: null`` stands for where waterz scores.
USUAL_THRESHOLD = 0.7

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


def _refuse_unread(section: Section, choice: str) -> None:
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


class Segment(Section):
    """How one block is segmented."""

    threshold: Fraction | None = Field(
        None,
        title="Threshold (affinity)",
        description="Regions merge while their score is at least this affinity. A lower value merges more. null: from the map itself (exact), 0.7 (overlap).",
    )
    merge_function: str = Field(
        "aff50_his256",
        title="Merge function",
        description="Scoring function of waterz: mean, aff<quantile>_his256, or its full name in waterz. waterz must ship it prebuilt.",
    )
    supervoxels: Supervoxels = Field(
        "waterz",
        title="Supervoxels",
        description="How supervoxels are made. waterz: by waterz's watershed. 3d: from seeds of a distance transform in the volume. 2d: the same per section.",
    )
    aff_thresholds: tuple[Fraction, Fraction] = Field(
        (0.0001, 0.9999),
        title="Watershed thresholds (affinity)",
        description="Low and high affinity threshold of waterz's watershed. Only supervoxels: waterz reads it.",
    )
    interior_threshold: Fraction = Field(
        0.1,
        title="Interior threshold (affinity)",
        description="Voxels with a mean affinity above this are inside an object. Only supervoxels: 3d and 2d read it.",
    )
    min_distance: PositiveInt = Field(
        3,
        title="Seed distance (voxels)",
        description="Smallest distance between two seeds, in voxels. Only supervoxels: 3d and 2d read it.",
    )
    min_size_vox: NonNegativeInt = Field(
        0,
        title="Minimum object size (voxels)",
        description="Smallest object to keep, in voxels over all blocks. Smaller objects become background.",
    )

    @field_validator("merge_function")
    @classmethod
    def _merge_function(cls, value: str) -> str:
        try:
            return parse_scoring(value).canonical
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.hint}") from None

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
        if not self.aff_thresholds[0] < self.aff_thresholds[1]:
            raise ValueError(
                f"aff_thresholds {list(self.aff_thresholds)}: the low one must be smaller than the high one"
            )
        _refuse_unread(self, "segment.supervoxels")
        return self


class Pool(Section):
    """How the labels of blocks become objects."""

    rule: RuleName = Field(
        "mutual",
        title="Matching rule",
        description="Which labels of two overlapping blocks join. mutual: each is the other's best match. both: most of each lies in the other. iou: their intersection over union is large enough. any: most of one lies in the other (the menu tool's rule; it chains false merges).",
    )
    min_overlap_vox: PositiveInt = Field(
        5,
        title="Minimum overlap (voxels)",
        description="Minimum number of shared voxels for two labels to join. Only rule mutual reads it.",
    )
    min_frac: Fraction = Field(
        0.5,
        title="Minimum fraction",
        description="Smallest share of a label inside the overlap that must lie in the other label. Only rules mutual, both and any read it.",
    )
    min_iou: Fraction = Field(
        0.5,
        title="Minimum IoU",
        description="Smallest intersection over union inside the overlap. Only rule iou reads it.",
    )
    largest_object_warning: Fraction = Field(
        0.1,
        title="Largest object warning (share)",
        description="Largest share of the segmented voxels that one object may hold without a warning.",
    )

    @model_validator(mode="after")
    def _rule_keys(self) -> Self:
        _refuse_unread(self, "pool.rule")
        return self


class ExactAdvanced(Section):
    """Settings whose defaults fit most volumes. Affinities are uint8: 255 is affinity 1."""

    t_low: Annotated[int, Field(ge=1, le=254, strict=True)] = Field(
        1,
        title="Low threshold (uint8)",
        description="Voxels without an edge of at least this affinity (of 255) become background. Values above 26 lose objects on real data.",
    )
    t_high: Annotated[int, Field(ge=2, le=256, strict=True)] = Field(
        255,
        title="High threshold (uint8)",
        description="Edges of this affinity (of 255) or more join at once. Lower values merge too much if the map saturates. 256: no edge joins at once, which is more accurate and takes twice the time.",
    )
    s_min: Annotated[int, Field(ge=0, le=100_000, strict=True)] = Field(
        50,
        title="Minimum basin size (voxels)",
        description="Basins of fewer voxels join the basin across their best edge. 0: off, which is slow and inaccurate.",
    )
    t_size: Annotated[int, Field(ge=1, le=255, strict=True)] = Field(
        1,
        title="Minimum affinity for size rules (uint8)",
        description="Lowest affinity (of 255) of an edge over which s_min, s2 and dust join.",
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.t_low >= self.t_high:
            raise ValueError(f"t_low {self.t_low} must be smaller than t_high {self.t_high}")
        return self


class Exact(Section):
    """Settings of method: exact."""

    s2: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = Field(
        200,
        title="Small regions (voxels)",
        description="Regions of fewer voxels merge over their best edge, before mean affinities count. 0: off.",
    )
    dust: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = Field(
        100,
        title="Dust (voxels)",
        description="Objects of fewer voxels join the neighbour over their best edge. 0: off.",
    )
    advanced: ExactAdvanced = ExactAdvanced.model_construct()


class Apply(Section):
    """How to write the segmentation."""

    chunk_size: Positive3 = Field(
        (64, 64, 64),
        title="Chunk size (voxels)",
        description="Size of the output's chunks, [z, y, x] in voxels.",
    )
    encoding: Literal["compressed_segmentation", "raw", "crackle"] = Field(
        "compressed_segmentation", title="Encoding", description="Encoding of the output's chunks."
    )
    compress: Literal["gzip"] | None = Field(
        "gzip", title="Compression", description="Compression of the encoded chunks. null: none."
    )
    mips: Annotated[int, Field(ge=0, le=10, strict=True)] = Field(
        3,
        title="Additional mips",
        description="Number of further resolution levels. Each has about half the resolution of the one before. The factors per axis make the voxels isotropic first.",
    )
