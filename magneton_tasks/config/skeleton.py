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
    scale: Annotated[_Length, Decides("apply", "skeleton.scale"), _FORM] = Field(
        1.5,
        title="Skeleton scale",
        description="A branch covers what lies within scale x radius + const_nm of it; no other branch begins there. Lower values give more branches.",
    )
    const_nm: Annotated[_Length, Decides("apply", "skeleton.const_nm"), _FORM] = Field(
        300.0, title="Skeleton constant (nm)", description="See scale."
    )
    tick_nm: Annotated[_Length, Decides("apply", "skeleton.tick_nm"), _FORM] = Field(
        500.0,
        title="Skeleton ticks (nm)",
        description="Branches that end and are shorter than this are left out. 0: all stay.",
    )
