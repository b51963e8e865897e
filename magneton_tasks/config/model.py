"""The volume config: one YAML file per volume; these models are the contract.

Unknown keys are refused with the nearest known name, and so is a key that the chosen method, rule
or kind of supervoxels doesn't read. The paths may hold ``{partition}``.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from magneton_tasks.base.methods import RuleName, Supervoxels
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.config.airflow import Notify, WaitForInput
from magneton_tasks.config.runners import Docker, Local, Runner
from magneton_tasks.config.slurm import Slurm
from magneton_tasks.config.types import (
    Fraction,
    Integer3,
    NonNegative3,
    NonNegativeInt,
    Positive3,
    PositiveInt,
    Section,
    Url,
    check_url,
)
from magneton_tasks.errors import ConfigError


class Paths(Section):
    """Where the data is. Each path may hold ``{partition}``; if input does, output and work must."""

    input: Url = Field(
        title="Affinity map",
        description="URL of the affinity map. Formats: Neuroglancer precomputed and Zarr (v2, v3, OME-Zarr).",
    )
    output: Url = Field(
        title="Segmentation",
        description="URL of the precomputed segmentation that Magneton writes (file, gs or s3).",
    )
    work: str = Field(
        title="Work directory",
        min_length=1,
        description="Directory (POSIX path) for block labels, tables and records. All workers must see it. It must lie outside the output.",
    )
    max_files: PositiveInt = Field(
        500_000,
        title="Maximum number of output files",
        description="Maximum number of files in the output. plan refuses a run that needs more.",
    )
    visibility_wait_s: float = Field(
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


class Input(Section):
    """How to read the affinity map."""

    mip: NonNegativeInt = Field(
        0, title="Mip", description="Resolution level of the affinity map; 0 is the finest."
    )
    channels: str | tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = Field(
        "zyx",
        title="Channels",
        description="Axis of each channel: an order such as zyx or xyz. If the map has more than three channels: the numbers of the z, y and x channel.",
    )
    offset_sign: Literal[-1, 1] = Field(
        -1,
        title="Offset sign",
        description="Voxels that affinity d of voxel v joins. -1: v and v - e_d. 1: v and v + e_d.",
    )
    invert: bool = Field(
        False,
        title="Invert",
        description="Set this to true if the map holds boundaries (1 = border) instead of affinities.",
    )
    scale: float | None = Field(
        None,
        gt=0,
        title="Scale",
        description="Stored value that means affinity 1. null: 255 for uint8, 65535 for uint16, 1 for floats.",
    )
    version: str | int | None = Field(
        None,
        title="Version",
        description="Label of the input's content. Change it when the content changes; a run then computes all blocks again.",
    )
    identity: Literal["metadata", "chunks"] = Field(
        "metadata",
        title="Identity",
        description="How a run detects a changed input. metadata: by its metadata and input.version. chunks: also by size and time of each chunk.",
    )

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: str | Integer3) -> str | Integer3:
        if isinstance(value, str) and sorted(value) != ["x", "y", "z"]:
            raise ValueError("must be an order of the letters z, y, x, or three channel numbers")
        if not isinstance(value, str) and len(set(value)) != 3:
            raise ValueError("must name three different channels")
        return value


class BoxConfig(Section):
    """The box to segment: z, y, x in voxels of the input's mip, voxel offset included."""

    begin: Integer3 = Field(title="Begin", description="First voxel of the box, [z, y, x].")
    end: Integer3 = Field(title="End", description="First voxel after the box, [z, y, x].")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if any(b >= e for b, e in zip(self.begin, self.end, strict=True)):
            raise ValueError(
                f"the box {list(self.begin)} to {list(self.end)} is empty: end must lie above begin on each axis"
            )
        return self


class Mask(Section):
    """Where the volume is segmented: voxels outside the mask become background."""

    path: Url | None = Field(
        None, title="Mask", description="URL of the mask volume (0 = outside). null: no mask."
    )
    mip: NonNegativeInt = Field(0, title="Mask mip", description="Resolution level of the mask.")


class Block(Section):
    """How the volume is cut into blocks."""

    size: Positive3 = Field(
        (256, 256, 256),
        title="Block size (voxels)",
        description="Largest box that one block reads, [z, y, x] in voxels. The halo is included.",
    )
    overlap: NonNegative3 = Field(
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


#: What ``segment.threshold: null`` stands for where waterz scores.
USUAL_THRESHOLD = 0.7


class Segment(Section):
    """How one block is segmented."""

    threshold: Fraction | None = Field(
        None,
        title="Threshold (affinity)",
        description="Regions merge while their score is at least this affinity. A lower value merges more. null: from the map itself (exact), 0.7 (overlap).",
    )
    merge_function: str = Field(
        "aff50_his256",
        title="Merge function",
        description="Scoring function of waterz: mean, aff<quantile>_his256, or its full name in waterz. waterz must ship it prebuilt.",
    )
    supervoxels: Supervoxels = Field(
        "waterz",
        title="Supervoxels",
        description="How supervoxels are made. waterz: by waterz's watershed. 3d: from seeds of a distance transform in the volume. 2d: the same per section.",
    )
    aff_thresholds: tuple[Fraction, Fraction] = Field(
        (0.0001, 0.9999),
        title="Watershed thresholds (affinity)",
        description="Low and high affinity threshold of waterz's watershed. Only supervoxels: waterz reads it.",
    )
    interior_threshold: Fraction = Field(
        0.1,
        title="Interior threshold (affinity)",
        description="Voxels with a mean affinity above this are inside an object. Only supervoxels: 3d and 2d read it.",
    )
    min_distance: PositiveInt = Field(
        3,
        title="Seed distance (voxels)",
        description="Smallest distance between two seeds, in voxels. Only supervoxels: 3d and 2d read it.",
    )
    min_size_vox: NonNegativeInt = Field(
        0,
        title="Minimum object size (voxels)",
        description="Smallest object to keep, in voxels over all blocks. Smaller objects become background.",
    )

    UNREAD: ClassVar[dict[str, set[str]]] = {
        "waterz": {"interior_threshold", "min_distance"},
        "3d": {"aff_thresholds"},
        "2d": {"aff_thresholds"},
    }

    @field_validator("merge_function")
    @classmethod
    def _merge_function(cls, value: str) -> str:
        try:
            return parse_scoring(value).canonical
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.hint}") from None

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
        if not self.aff_thresholds[0] < self.aff_thresholds[1]:
            raise ValueError(
                f"aff_thresholds {list(self.aff_thresholds)}: the low one must be smaller than the high one"
            )
        _refuse_unread(self, "supervoxels", self.supervoxels, self.UNREAD)
        return self


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

    UNREAD: ClassVar[dict[str, set[str]]] = {
        "mutual": {"min_iou"},
        "both": {"min_iou", "min_overlap_vox"},
        "any": {"min_iou", "min_overlap_vox"},
        "iou": {"min_frac", "min_overlap_vox"},
    }

    @model_validator(mode="after")
    def _rule_keys(self) -> Self:
        _refuse_unread(self, "rule", self.rule, self.UNREAD)
        return self


class ExactAdvanced(Section):
    """Settings whose defaults fit most volumes. Affinities are uint8: 255 is affinity 1."""

    t_low: Annotated[int, Field(ge=1, le=254, strict=True)] = Field(
        1,
        title="Low threshold (uint8)",
        description="Voxels without an edge of at least this affinity (of 255) become background. Values above 26 lose objects on real data.",
    )
    t_high: Annotated[int, Field(ge=2, le=256, strict=True)] = Field(
        255,
        title="High threshold (uint8)",
        description="Edges of this affinity (of 255) or more join at once. Lower values merge too much if the map saturates. 256: no edge joins at once, which is more accurate and takes twice the time.",
    )
    s_min: Annotated[int, Field(ge=0, le=100_000, strict=True)] = Field(
        50,
        title="Minimum basin size (voxels)",
        description="Basins of fewer voxels join the basin across their best edge. 0: off, which is slow and inaccurate.",
    )
    t_size: Annotated[int, Field(ge=1, le=255, strict=True)] = Field(
        1,
        title="Minimum affinity for size rules (uint8)",
        description="Lowest affinity (of 255) of an edge over which s_min, s2 and dust join.",
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.t_low >= self.t_high:
            raise ValueError(f"t_low {self.t_low} must be smaller than t_high {self.t_high}")
        return self


class Exact(Section):
    """Settings of method: exact."""

    s2: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = Field(
        200,
        title="Small regions (voxels)",
        description="Regions of fewer voxels merge over their best edge, before mean affinities count. 0: off.",
    )
    dust: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = Field(
        100,
        title="Dust (voxels)",
        description="Objects of fewer voxels join the neighbour over their best edge. 0: off.",
    )
    advanced: ExactAdvanced = ExactAdvanced.model_construct()


#: By method, the sections and dotted keys that it doesn't read.
UNREAD_BY_METHOD: dict[str, tuple[str, ...]] = {
    "overlap": ("exact",),
    "exact": (
        "block.overlap", "segment.merge_function", "segment.supervoxels", "segment.aff_thresholds",
        "segment.interior_threshold", "segment.min_distance",
        "pool.rule", "pool.min_overlap_vox", "pool.min_frac", "pool.min_iou",
    ),
}  # fmt: skip


#: What to do about such a key in a file.
ADD_METHOD = (
    "Add a line: `method: overlap` keeps what waterz made; `method: exact`, without this key, "
    "computes it again"
)
CHANGE_METHOD = "remove it or change method"


def _refuse_unread(
    section: Section, selector: str, choice: str, unread: dict[str, set[str]]
) -> None:
    for key in sorted(unread[choice] & section.model_fields_set):
        readers = ", ".join(c for c, keys in unread.items() if key not in keys)
        raise ValueError(
            f"{key} is not read by {selector}: {choice} (only by {readers}); remove it or change {selector}"
        )


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


class RunConfig(Section):
    """Everything about one volume."""

    schedule: str | None = Field(
        None, title="Schedule", description="Cron expression, in UTC. null: runs start by hand."
    )
    partition_format: str = Field(
        "%Y-%m-%d",
        title="Partition format",
        description="strftime format of {partition}. It is applied to the logical date (UTC) of a scheduled run.",
    )
    wait_for_input: WaitForInput = WaitForInput.model_construct()
    notify: Notify = Notify.model_construct()
    paths: Paths
    input: Input = Input.model_construct()
    box: BoxConfig | None = Field(
        None, title="Cut-out", description="Box to segment. null: the whole volume."
    )
    mask: Mask = Mask.model_construct()
    method: Literal["overlap", "exact"] = Field(
        "exact",
        title="Method",
        description="exact: mean affinity, with a result that does not depend on the blocks. overlap: waterz on overlapping blocks, whose labels are matched in the overlap.",
    )
    block: Block = Block.model_construct()
    segment: Segment = Segment.model_construct()
    exact: Exact = Exact.model_construct()
    pool: Pool = Pool.model_construct()
    apply: Apply = Apply.model_construct()
    runner: Runner = Runner.model_construct()
    local: Local = Local.model_construct()
    docker: Docker = Docker.model_construct()
    slurm: Slurm = Slurm.model_construct()

    @property
    def worker(self) -> Local | Docker | Slurm:
        """The section of this run's runner."""
        sections: dict[str, Local | Docker | Slurm] = {
            "local": self.local, "docker": self.docker, "slurm": self.slurm
        }  # fmt: skip
        return sections[self.runner.default]

    @model_validator(mode="after")
    def _method_keys(self) -> Self:
        for key in UNREAD_BY_METHOD[self.method]:
            section, _, leaf = key.partition(".")
            given = getattr(self, section).model_fields_set if leaf else self.model_fields_set
            if (leaf or section) in given:
                raise ValueError(f"{key} {self._why_unread()}")
        if self.method == "overlap":
            self.block.check_overlap()
        elif 3 * prod(self.block.size) >= 2**32:
            raise ValueError(
                f"block.size {list(self.block.size)} has more voxels than method: exact can number ({2**32 // 3:,})"
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
        for name, selector in (("segment", "supervoxels"), ("pool", "rule")):
            section = getattr(self, name)
            for key in section.UNREAD[getattr(section, selector)]:
                del data[name][key]
        for key in UNREAD_BY_METHOD[self.method]:
            section, _, leaf = key.partition(".")
            if leaf:
                data[section].pop(leaf, None)
            else:
                del data[section]
        return data
