"""The section `segment`: how one block is segmented.

The kernels read `base.methods.SegmentSettings`, which takes keys by name (`settings`).
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.base.methods import Supervoxels
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.config.field_facts import Decides, InForm, OnlyFor
from magneton_tasks.config.types import Fraction, NonNegativeInt, PositiveInt, Section
from magneton_tasks.config.unread import refuse_unread
from magneton_tasks.errors import ConfigError

#: What ``segment.threshold: null`` stands for where waterz scores.
USUAL_THRESHOLD = 0.7
_FORM = InForm("Segmentation")
_WATERZ = OnlyFor("method", ("overlap",))
_SEEDS = OnlyFor("segment.supervoxels", ("3d", "2d"))


class Segment(Section):
    """How one block is segmented."""

    threshold: Annotated[
        Fraction | None, Decides("segment", "segment.threshold"), InForm("This run")
    ] = Field(
        None,
        title="Threshold (affinity)",
        description="Regions merge while their score is at least this affinity. A lower value merges more. "
        f"null: from the map itself (exact), {USUAL_THRESHOLD:g} (overlap).",
    )
    merge_function: Annotated[str, Decides("segment", "segment.merge_function"), _FORM, _WATERZ] = (
        Field(
            "aff50_his256",
            title="Merge function",
            description="Scoring function of waterz: mean, aff<quantile>_his256, or its full name in waterz. waterz must ship it prebuilt.",
        )
    )
    supervoxels: Annotated[
        Supervoxels, Decides("segment", "segment.supervoxels"), _FORM, _WATERZ
    ] = Field(
        "waterz",
        title="Supervoxels",
        description="How supervoxels are made. waterz: by waterz's watershed. 3d: from seeds of a distance transform in the volume. 2d: the same per section.",
    )
    aff_thresholds: Annotated[
        tuple[Fraction, Fraction],
        Decides("segment", "segment.aff_thresholds"),
        _FORM,
        _WATERZ,
        OnlyFor("segment.supervoxels", ("waterz",)),
    ] = Field(
        (0.0001, 0.9999),
        title="Watershed thresholds (affinity)",
        description="Low and high affinity threshold of waterz's watershed. Only supervoxels: waterz reads it.",
    )
    interior_threshold: Annotated[
        Fraction, Decides("segment", "segment.interior_threshold"), _FORM, _WATERZ, _SEEDS
    ] = Field(
        0.1,
        title="Interior threshold (affinity)",
        description="Voxels with a mean affinity above this are inside an object. Only supervoxels: 3d and 2d read it.",
    )
    min_distance: Annotated[
        PositiveInt, Decides("segment", "segment.min_distance"), _FORM, _WATERZ, _SEEDS
    ] = Field(
        3,
        title="Seed distance (voxels)",
        description="Smallest distance between two seeds, in voxels. Only supervoxels: 3d and 2d read it.",
    )
    # pool drops small objects
    min_size_vox: Annotated[NonNegativeInt, Decides("pool"), _FORM] = Field(
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
