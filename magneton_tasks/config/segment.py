"""The section `segment`: how one block is segmented.

Which of its keys decide a result stands in `deciding`, which of them a form may set in `from_form`.
The kernels read `base.methods.SegmentSettings`, which `settings` makes.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.base.methods import Supervoxels
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.config.types import Fraction, NonNegativeInt, PositiveInt, Section
from magneton_tasks.config.unread import refuse_unread
from magneton_tasks.errors import ConfigError

#: What ``segment.threshold: null`` stands for where waterz scores.
USUAL_THRESHOLD = 0.7


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
        refuse_unread(self, "segment.supervoxels")
        return self
