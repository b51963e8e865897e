"""The section `pool`: how the labels of blocks become objects.

Which of its keys decide a result stands in `deciding`. The kernels read `base.methods.Rule`, which
`settings` makes.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from magneton_tasks.base.methods import RuleName
from magneton_tasks.config.types import Fraction, PositiveInt, Section
from magneton_tasks.config.unread import refuse_unread


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
        refuse_unread(self, "pool.rule")
        return self
