"""The section `pool`: how the labels of blocks become objects.

The kernels read `base.methods.Rule`, which takes keys by name (`settings`).
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from magneton_tasks.base.methods import RuleName
from magneton_tasks.config.field_facts import NOTHING, Decides, InForm, OnlyFor
from magneton_tasks.config.types import Fraction, PositiveInt, Section
from magneton_tasks.config.unread import refuse_unread

_FORM = InForm("Pooling")
_MATCHES = OnlyFor("method", ("overlap",))


class Pool(Section):
    """How the labels of blocks become objects."""

    rule: Annotated[RuleName, Decides("pool", "pool.rule"), _FORM, _MATCHES] = Field(
        "mutual",
        title="Matching rule",
        description="Which labels of two overlapping blocks join. mutual: each is the other's best match. both: most of each lies in the other. iou: their intersection over union is large enough. any: most of one lies in the other (the menu tool's rule; it chains false merges).",
    )
    min_overlap_vox: Annotated[
        PositiveInt,
        Decides("pool", "pool.min_overlap_vox"),
        _FORM,
        _MATCHES,
        OnlyFor("pool.rule", ("mutual",)),
    ] = Field(
        5,
        title="Minimum overlap (voxels)",
        description="Minimum number of shared voxels for two labels to join. Only rule mutual reads it.",
    )
    min_frac: Annotated[
        Fraction,
        Decides("pool", "pool.min_frac"),
        _FORM,
        _MATCHES,
        OnlyFor("pool.rule", ("mutual", "both", "any")),
    ] = Field(
        0.5,
        title="Minimum fraction",
        description="Smallest share of a label inside the overlap that must lie in the other label. Only rules mutual, both and any read it.",
    )
    min_iou: Annotated[
        Fraction, Decides("pool", "pool.min_iou"), _FORM, _MATCHES, OnlyFor("pool.rule", ("iou",))
    ] = Field(
        0.5,
        title="Minimum IoU",
        description="Smallest intersection over union inside the overlap. Only rule iou reads it.",
    )
    largest_object_warning: Annotated[Fraction, NOTHING, _FORM] = Field(
        0.1,
        title="Largest object warning (share)",
        description="Largest share of the segmented voxels that one object may hold without a warning.",
    )

    @model_validator(mode="after")
    def _rule_keys(self) -> Self:
        refuse_unread(self, "pool.rule")
        return self
