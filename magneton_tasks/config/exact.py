"""The section `exact`: settings of `method: exact`.

The kernels read `base.methods.ExactSettings`, which takes keys by name (`settings`). A new key that
decides a result names what stood for it before, ``Decides(..., before=...)``: else all results that
exist become stale.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from magneton_tasks.base.methods import LEVELS_ADVICE, contradict
from magneton_tasks.config.field_facts import NOTHING, Decides, InForm
from magneton_tasks.config.types import Fraction, Section

_FORM = InForm("Segmentation")


class ExactAdvanced(Section):
    """Settings whose defaults fit most volumes. Affinities are uint8: 255 is affinity 1."""

    t_low: Annotated[
        int, Field(ge=1, le=254, strict=True), Decides("segment", "exact.advanced.t_low"), _FORM
    ] = Field(
        1,
        title="Low threshold (uint8)",
        description="Voxels without an edge of at least this affinity (of 255) become background. Values above 26 lose objects on real data.",
    )
    t_high: Annotated[
        int, Field(ge=2, le=256, strict=True), Decides("segment", "exact.advanced.t_high"), _FORM
    ] = Field(
        255,
        title="High threshold (uint8)",
        description="Edges of this affinity (of 255) or more join at once. Lower values merge too much if the map saturates. 256: no edge joins at once, which is more accurate and takes twice the time.",
    )
    s_min: Annotated[
        int, Field(ge=0, le=100_000, strict=True), Decides("segment", "exact.advanced.s_min"), _FORM
    ] = Field(
        50,
        title="Minimum basin size (voxels)",
        description="Basins of fewer voxels join the basin across their best edge. 0: off, which is slow and inaccurate.",
    )
    t_size: Annotated[
        int, Field(ge=1, le=255, strict=True), Decides("segment", "exact.advanced.t_size"), _FORM
    ] = Field(
        1,
        title="Minimum affinity for size rules (uint8)",
        description="Lowest affinity (of 255) of an edge over which s_min and s2 join.",
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if contradict(self.t_low, self.t_high):
            raise ValueError(f"t_low is {self.t_low}, t_high {self.t_high}: {LEVELS_ADVICE}")
        return self


class Exact(Section):
    """Settings of method: exact."""

    s2: Annotated[
        int, Field(ge=0, le=1_000_000, strict=True), Decides("segment", "exact.s2"), _FORM
    ] = Field(
        200,
        title="Small regions (voxels)",
        description="Regions of fewer voxels merge over their best edge, before mean affinities count. 0: off.",
    )
    dust: Annotated[Annotated[int, Field(ge=0, le=1_000_000, strict=True)] | None, NOTHING] = Field(
        None,
        title="Dust (voxels)",
        description="Has no effect up to s2, which merges all that is smaller; more is refused. Leave it out.",
    )
    # with the threshold: what blocks merge down to (`plan.fingerprints`)
    lowest_threshold: Annotated[Fraction, Decides("segment")] = Field(
        0.05,
        title="Lowest threshold",
        description="Blocks merge down to this affinity, so that any segment.threshold from here on is a cut that recomputes no block. Hardly costs anything.",
    )
    advanced: ExactAdvanced = ExactAdvanced.model_construct()

    @model_validator(mode="after")
    def _no_dust_above_s2(self) -> Self:
        if self.dust is not None and self.dust > self.s2:
            raise ValueError(
                f"dust {self.dust} lies above s2 {self.s2}: objects aren't merged by size once "
                "thresholds are cuts; set s2 to it, or leave out objects with segment.min_size_vox"
            )
        return self
