"""The section `apply`: how the segmentation is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from magneton_tasks.config.field_facts import NOTHING, Decides, InForm
from magneton_tasks.config.types import NonNegativeInt, Positive3, Section

_FORM = InForm("Output")


class Apply(Section):
    """How to write the segmentation."""

    chunk_size: Annotated[Positive3, Decides("apply", "apply.chunk_size"), _FORM] = Field(
        (64, 64, 64),
        title="Chunk size (voxels)",
        description="Size of the output's chunks, [z, y, x] in voxels.",
    )
    encoding: Annotated[
        Literal["compressed_segmentation", "raw", "crackle"],
        Decides("apply", "apply.encoding"),
        _FORM,
    ] = Field(
        "compressed_segmentation", title="Encoding", description="Encoding of the output's chunks."
    )
    compress: Annotated[Literal["gzip"] | None, Decides("apply", "apply.compress")] = Field(
        "gzip", title="Compression", description="Compression of the encoded chunks. null: none."
    )
    # by the form that it leads to, which the fingerprint holds
    sharding: Annotated[Literal["auto", "on", "off"], Decides("apply"), _FORM] = Field(
        "auto",
        title="Sharding",
        description="Whether many chunks share a file (a shard). auto: as the output is already; a new output if it would hold more than a tenth of paths.max_files.",
    )
    # by the factors of the volume's mips
    mips: Annotated[int, Field(ge=0, le=10, strict=True), Decides("apply"), _FORM] = Field(
        3,
        title="Additional mips",
        description="Number of further resolution levels. Each has about half the resolution of the one before. The factors per axis make the voxels isotropic first.",
    )
    listed_objects: Annotated[NonNegativeInt, NOTHING] = Field(
        20_000,
        title="Listed objects",
        description="How many of the largest objects Neuroglancer lists, with their sizes. 0: none. A browser reads the whole list first: some 100 bytes each.",
    )

    @field_validator("sharding", mode="before")
    @classmethod
    def _sharding(cls, value: object) -> object:
        """YAML reads ``on`` and ``off`` without quotes as true and false."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
