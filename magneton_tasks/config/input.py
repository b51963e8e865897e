"""How the affinity map is read: the section ``input``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from magneton_tasks.config.field_facts import NOTHING, Decides, InForm
from magneton_tasks.config.types import Integer3, NonNegativeInt, PositiveSize3, Section


class Input(Section):
    """How to read the affinity map."""

    mip: Annotated[
        NonNegativeInt, Decides("segment", "input.mip"), InForm("Blocks", is_last=True)
    ] = Field(0, title="Mip", description="Resolution level of the affinity map; 0 is the finest.")
    channels: Annotated[
        str | tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt],
        Decides("segment", "input.channels"),
    ] = Field(
        "zyx",
        title="Channels",
        description="Axis of each channel: an order such as zyx or xyz. If the map has more than three channels: the numbers of the z, y and x channel.",
    )
    offset_sign: Annotated[Literal[-1, 1], Decides("segment", "input.offset_sign")] = Field(
        -1,
        title="Offset sign",
        description="Voxels that affinity d of voxel v joins. -1: v and v - e_d. 1: v and v + e_d.",
    )
    invert: Annotated[bool, Decides("segment", "input.invert")] = Field(
        False,
        title="Invert",
        description="Set this to true if the map holds boundaries (1 = border) instead of affinities.",
    )
    scale: Annotated[float | None, Decides("segment", "input.scale")] = Field(
        None,
        gt=0,
        title="Scale",
        description="Stored value that means affinity 1. null: 255 for uint8, 65535 for uint16, 1 for floats.",
    )
    voxel_size_nm: Annotated[
        PositiveSize3 | None, Decides("apply", "apply.input_voxel_size_nm", before=None)
    ] = Field(
        None,
        title="Voxel size (nm)",
        description="Voxel size of the affinity map in nm, [z, y, x], at input.mip. null: that of its metadata; without one, 1 nm.",
    )
    # by the cuts of the grid
    voxel_offset: Annotated[Integer3 | None, Decides("segment")] = Field(
        None,
        title="Voxel offset",
        description="Where the map's first voxel lies, [z, y, x] in voxels. null: where its metadata says; without that, at 0.",
    )
    axes: Annotated[str | None, Decides("segment", "input.axes", before=None)] = Field(
        None,
        title="Axes",
        description="Axes of the stored array, such as czyx or zyxc: one letter each, c for the channels, t for an axis of length 1. null: those of its metadata; without names, czyx.",
    )
    doubtful: Annotated[Literal["refuse", "warn"], NOTHING] = Field(
        "refuse",
        title="If the map looks wrong",
        description="What plan does if samples of the map can't be right as they are read: one value, 0 and 1 only, inverted, channels in another order. warn: it says so and continues.",
    )
    version: Annotated[str | int | None, NOTHING] = Field(
        None,
        title="Version",
        description="Label of the input's content. Change it when the content changes; a run then computes all blocks again.",
    )
    identity: Annotated[Literal["metadata", "chunks"], NOTHING] = Field(
        "metadata",
        title="Identity",
        description="How a run detects a changed input. metadata: by its metadata and input.version. chunks: also by size and time of each chunk.",
    )

    @field_validator("axes")
    @classmethod
    def _axes(cls, value: str | None) -> str | None:
        if value is None or (set("zyx") <= set(value) <= set("zyxct") and _is_unique(value)):
            return value
        raise ValueError(
            "must hold each of z, y and x once, and perhaps c and t, in the order in which the array is stored, such as czyx"
        )

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: str | Integer3) -> str | Integer3:
        if isinstance(value, str) and sorted(value) != ["x", "y", "z"]:
            raise ValueError("must be an order of the letters z, y, x, or three channel numbers")
        if not isinstance(value, str) and len(set(value)) != 3:
            raise ValueError("must name three different channels")
        return value


def _is_unique(letters: str) -> bool:
    return len(set(letters)) == len(letters)
