"""The section `skeleton`: centre lines of all objects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from magneton_tasks.config.field_facts import Decides, InForm
from magneton_tasks.config.types import NonNegativeInt, Section

_FORM = InForm("Skeletons")
_Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Skeleton(Section):
    """Skeletons of all objects: `skeleton: {mip: 2}` will do. null: none."""

    mip: Annotated[NonNegativeInt, Decides("apply", "skeleton.mip"), _FORM] = Field(
        2,
        title="Skeleton mip",
        description="Resolution level that skeletons are made of.",
    )
    dust_um3: Annotated[_Length, Decides("apply", "skeleton.dust_um3"), _FORM] = Field(
        0.01,
        title="Skeleton dust (um^3)",
        description="Objects of less volume, as counted at the mip of skeletons, get no skeleton. 0: all get one.",
    )
