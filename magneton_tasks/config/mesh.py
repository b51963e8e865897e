"""The section `mesh`: surfaces of all objects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from magneton_tasks.config.field_facts import Decides, InForm
from magneton_tasks.config.types import NonNegativeInt, Section

_FORM = InForm("Meshes")


class Mesh(Section):
    """Meshes of all objects, for 3D views: `mesh: {mip: 2}` will do. null: none."""

    mip: Annotated[NonNegativeInt, Decides("apply", "mesh.mip"), _FORM] = Field(
        2,
        title="Mesh mip",
        description="Resolution level that meshes are made of. Each coarser level takes about an eighth of the time and a quarter of the bytes.",
    )
    dust_um3: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)],
        Decides("apply", "mesh.dust_um3"),
        _FORM,
    ] = Field(
        0.01,
        title="Mesh dust (um^3)",
        description="Objects of less volume, as counted at the mip of meshes, get no mesh. 0: all get one.",
    )
    error_nm: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        Decides("apply", "mesh.error_nm"),
        _FORM,
    ] = Field(
        None,
        title="Mesh error (nm)",
        description="How far simplification may move the surface at the finest level of detail, as the root of the mean squared distance. null: a tenth of a voxel of the mip.",
    )
    lods: Annotated[int, Field(ge=1, le=8, strict=True), Decides("apply", "mesh.lods"), _FORM] = (
        Field(
            3,
            title="Levels of detail",
            description="Number of levels of detail. Each has about a quarter of the triangles of the one before.",
        )
    )
