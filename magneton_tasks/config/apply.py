"""The section `apply`: how the segmentation is written.

Which of its keys decide a result stands in `deciding`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from magneton_tasks.config.types import Positive3, Section


class Apply(Section):
    """How to write the segmentation."""

    chunk_size: Positive3 = Field(
        (64, 64, 64),
        title="Chunk size (voxels)",
        description="Size of the output's chunks, [z, y, x] in voxels.",
    )
    encoding: Literal["compressed_segmentation", "raw", "crackle"] = Field(
        "compressed_segmentation", title="Encoding", description="Encoding of the output's chunks."
    )
    compress: Literal["gzip"] | None = Field(
        "gzip", title="Compression", description="Compression of the encoded chunks. null: none."
    )
    mips: Annotated[int, Field(ge=0, le=10, strict=True)] = Field(
        3,
        title="Additional mips",
        description="Number of further resolution levels. Each has about half the resolution of the one before. The factors per axis make the voxels isotropic first.",
    )
