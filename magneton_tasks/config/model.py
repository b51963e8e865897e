"""The volume config: one YAML file per volume; these models are the contract.

Unknown keys are refused with the nearest known name, and so is a key that the chosen method, rule
or kind of supervoxels doesn't read. The paths may hold ``{partition}``.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.base.methods import MAX_EXACT_BLOCK_VOX
from magneton_tasks.config import keys
from magneton_tasks.config.airflow import Notify, WaitForInput
from magneton_tasks.config.apply import Apply
from magneton_tasks.config.docker import Docker
from magneton_tasks.config.exact import Exact
from magneton_tasks.config.field_facts import NOTHING, Decides, InForm, OnlyFor
from magneton_tasks.config.input import Input
from magneton_tasks.config.local import Local
from magneton_tasks.config.mesh import Mesh
from magneton_tasks.config.pool import Pool
from magneton_tasks.config.runners import Runner
from magneton_tasks.config.segment import Segment
from magneton_tasks.config.skeleton import Skeleton
from magneton_tasks.config.slurm import Slurm
from magneton_tasks.config.types import (
    THRESHOLD,
    Integer3,
    NonNegative3,
    NonNegativeInt,
    Positive3,
    PositiveInt,
    Section,
    Url,
    check_url,
)
from magneton_tasks.config.unread import ADD_METHOD, CHANGE_METHOD, table, unread_keys


class Paths(Section):
    """Where the data is. Each path may hold ``{partition}``; if input does, output and work must."""

    input: Annotated[Url, Decides("segment"), InForm("Paths")] = Field(
        title="Affinity map",
        description="URL of the affinity map. Formats: Neuroglancer precomputed, Zarr (v2, v3, OME-Zarr), N5, and HDF5 (file:///data/a.h5/volumes/affs).",
    )
    output: Annotated[Url, Decides("apply"), InForm("Paths")] = Field(
        title="Segmentation",
        description="URL of the precomputed segmentation that Magneton writes (file, gs or s3). It may hold {threshold}, which stands for segment.threshold: so results at several thresholds lie side by side.",
    )
    work: Annotated[str, NOTHING, InForm("Paths")] = Field(
        title="Work directory",
        min_length=1,
        description="Directory (POSIX path) for block labels, tables and records. All workers must see it. It must lie outside the output.",
    )
    max_files: Annotated[PositiveInt, NOTHING] = Field(
        500_000,
        title="Maximum number of output files",
        description="Maximum number of files in the output. plan refuses a run that needs more.",
    )
    visibility_wait_s: Annotated[float, NOTHING] = Field(
        120,
        ge=0,
        title="Visibility wait (s)",
        description="Seconds to wait for a recorded file that a slow shared file system does not show yet. After that it counts as missing.",
    )

    @field_validator("work")
    @classmethod
    def _work_is_a_path(cls, value: str) -> str:
        path = value.removeprefix("file://")
        if "://" in path:
            raise ValueError("must be an absolute POSIX path, such as /data/work")
        try:
            check_url(value)
        except ValueError as error:
            raise ValueError(str(error).replace("file://", "")) from None
        return path

    @model_validator(mode="after")
    def _partitions(self) -> Self:
        if "{partition}" in self.input and not all(
            "{partition}" in p for p in (self.output, self.work)
        ):
            raise ValueError(
                "input holds {partition}, so output and work must hold it too: "
                "otherwise one partition would overwrite another"
            )
        return self

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
        for name in ("input", "work"):
            if THRESHOLD in getattr(self, name):
                raise ValueError(
                    f"{name} holds {THRESHOLD}, which may stand in output only: "
                    "all thresholds are cut from the same blocks"
                )
        return self


class BoxConfig(Section):
    """The box to segment: z, y, x in voxels of the input's mip, voxel offset included."""

    # by the cuts of the grid
    begin: Annotated[Integer3, Decides("segment")] = Field(
        title="Begin", description="First voxel of the box, [z, y, x]."
    )
    end: Annotated[Integer3, Decides("segment")] = Field(
        title="End", description="First voxel after the box, [z, y, x]."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if any(b >= e for b, e in zip(self.begin, self.end, strict=True)):
            raise ValueError(
                f"the box {list(self.begin)} to {list(self.end)} is empty: end must lie above begin on each axis"
            )
        return self


class Mask(Section):
    """Where the volume is segmented: voxels outside the mask become background."""

    path: Annotated[Url | None, Decides("segment", "mask.path"), InForm("Paths")] = Field(
        None, title="Mask", description="URL of the mask volume (0 = outside). null: no mask."
    )
    mip: Annotated[NonNegativeInt, Decides("segment", "mask.mip")] = Field(
        0, title="Mask mip", description="Resolution level of the mask."
    )


class Block(Section):
    """How the volume is cut into blocks."""

    # by the cuts of the grid
    size: Annotated[Positive3, Decides("segment"), InForm("Blocks")] = Field(
        (256, 256, 256),
        title="Block size (voxels)",
        description="Largest box that one block reads, [z, y, x] in voxels. The halo is included.",
    )
    overlap: Annotated[
        NonNegative3, Decides("segment"), InForm("Blocks"), OnlyFor("method", ("overlap",))
    ] = Field(
        (32, 32, 32),
        title="Overlap (voxels)",
        description="Width of the overlap of neighbouring blocks, [z, y, x] in voxels. It must be less than half the block.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size[0] * self.size[1] * self.size[2] >= 2**31:
            raise ValueError(
                f"a block of {list(self.size)} has 2^31 voxels or more; labels and waterz don't hold that"
            )
        return self

    def check_overlap(self) -> None:
        """For the method that reads it: less than half the block, or ValueError."""
        for axis, size, overlap in zip("zyx", self.size, self.overlap, strict=True):
            if 2 * overlap >= size and overlap > 0:
                raise ValueError(
                    f"block.overlap {overlap} along {axis} is half the block size {size} or more; use at most {(size - 1) // 2}"
                )


class RunConfig(Section):
    """Everything about one volume."""

    schedule: Annotated[str | None, NOTHING] = Field(
        None, title="Schedule", description="Cron expression, in UTC. null: runs start by hand."
    )
    partition_format: Annotated[str, NOTHING] = Field(
        "%Y-%m-%d",
        title="Partition format",
        description="strftime format of {partition}. It is applied to the logical date (UTC) of a scheduled run.",
    )
    wait_for_input: Annotated[WaitForInput, NOTHING] = WaitForInput.model_construct()
    notify: Annotated[Notify, NOTHING] = Notify.model_construct()
    paths: Paths
    input: Input = Input.model_construct()
    box: BoxConfig | None = Field(
        None, title="Cut-out", description="Box to segment. null: the whole volume."
    )
    mask: Mask = Mask.model_construct()
    method: Annotated[Literal["overlap", "exact"], Decides("segment")] = Field(
        "exact",
        title="Method",
        description="exact: mean affinity, with a result that does not depend on the blocks. overlap: waterz on overlapping blocks, whose labels are matched in the overlap.",
    )
    block: Block = Block.model_construct()
    segment: Segment = Segment.model_construct()
    exact: Annotated[Exact, OnlyFor("method", ("exact",))] = Exact.model_construct()
    pool: Pool = Pool.model_construct()
    apply: Apply = Apply.model_construct()
    mesh: Mesh | None = Field(
        None, title="Meshes", description="Meshes of all objects. null: none."
    )
    skeleton: Skeleton | None = Field(
        None, title="Skeletons", description="Skeletons of all objects. null: none."
    )
    runner: Annotated[Runner, NOTHING] = Runner.model_construct()
    local: Annotated[Local, NOTHING] = Local.model_construct()
    docker: Annotated[Docker, NOTHING] = Docker.model_construct()
    slurm: Annotated[Slurm, NOTHING] = Slurm.model_construct()

    @property
    def worker(self) -> Local | Docker | Slurm:
        """The section of this run's runner."""
        sections: dict[str, Local | Docker | Slurm] = {
            "local": self.local, "docker": self.docker, "slurm": self.slurm
        }  # fmt: skip
        return sections[self.runner.default]

    @model_validator(mode="after")
    def _method_keys(self) -> Self:
        for key in unread_keys(type(self), "method", self.method):
            section, leaf = keys.split(key)
            inner = getattr(self, section) if section else self
            if leaf in inner.model_fields_set:
                raise ValueError(f"{key} {self._why_unread()}")
        if self.method == "overlap":
            self.block.check_overlap()
        elif prod(self.block.size) > MAX_EXACT_BLOCK_VOX:
            raise ValueError(
                f"block.size {list(self.block.size)} has more voxels than method: exact can number ({MAX_EXACT_BLOCK_VOX:,})"
            )
        return self

    def _why_unread(self) -> str:
        if "method" in self.model_fields_set:
            return f"is not read by method: {self.method}; {CHANGE_METHOD}"
        return (
            "is read by method: overlap only, and no method is given: exact is the default now. "
            + ADD_METHOD
        )

    def resolved(self) -> dict[str, Any]:
        """All values as plain data that :func:`parse_config` reads back to an equal config."""
        data = self.model_dump(mode="json")
        for choice in table(type(self)):
            for key in unread_keys(type(self), choice, keys.value(self, choice)):
                keys.drop(data, key)
        return data
