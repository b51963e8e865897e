"""One event about one block, group or cell: a line of JSON; standard library only.

What a stage adds to an event stands in `Info`, whose names are those of the JSON, on disk for good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypedDict, get_args

from magneton_tasks.base.files import FileInfo

State = Literal["started", "failed", "empty", "done", "invalid"]

#: What count writes: pairs, and the sizes of labels (overlap).
Kind = Literal["pairs", "sizes"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Which of two events of the same time counts: the later in this order.
STATES: tuple[State, ...] = get_args(State)

DECODER = json.JSONDecoder()


#: Marks a failure in a record or a result: with more memory the block may well work.
OUT_OF_MEMORY: Final = "out_of_memory"


class Info(TypedDict, total=False):
    """What a stage adds to a record; each has some of these.

    Attributes
    ----------
    exit_code, cause, hint
        Of a failure, as the error has them; ``cause`` alone also of an *invalid* result.
    out_of_memory
        Only there if memory ran out.
    log
        Path of the block's own log, if it left one.
    n
        Labels of a block (segment, count).
    files
        Files that hold the result, by kind: [size in bytes, CRC-32].
    cleaned
        `clean` removed these files.
    rows
        Rows of each table that the next stage reads (exact: segment, faces, rounds).
    slices
        Names of the files of slices that hold the result, by kind as in ``files``.
    voxels
        Labelled voxels (exact: segment, cut), those with a global id at mip 0 (apply), at the mip of
        meshes (mesh; as skeletons'), of all pieces that were read (their shards).
    merges
        By mean affinity (exact: segment, rounds, pool).
    sends
        Regions that a group sends on (rounds).
    read, sent
        Regions and half-edges that a group read of, and sent to, each fine group (rounds). Pieces that
        a cell sent to each shard, see `work.pieces` (mesh, skeleton).
    hub
        Of the region that a group sends on with the most half-edges: their number, its voxels, and a
        block that it is in (rounds).
    sums
        Sum and number of the voxel edges over a block's high faces (faces).
    plan
        Digest of the last round's plan (pool).
    left_out
        Voxels of objects that min_size_vox left out (cut).
    classes, largest
        Of the objects that a group names: how many of 2^k to 2^(k+1) - 1 voxels, for k from 0; and
        global id and voxels of the largest (cut).
    file
        Where the rows of count lie: the file names of its kinds end in this.
    pairs, sizes
        The rows of count in these: [first, how many].
    contacts
        Contacts by regions of each high face with labels on either side, by axis (faces).
    faces
        Faces that were read (round 0).
    merged
        Merges at the levels of the curve around the threshold, the fewer first (pool).
    joins
        Labels that were joined (pool).
    threshold
        What pool took from the map: a `plan.ThresholdChoice` as JSON has it.
    objects, labels
        Global ids, and labels that got one (pool, cut).
    dust, made
        Objects that were left out because they are small, and those that weren't; and their voxels
        (shards of objects).
    figures
        What a maker counts, over all objects of a shard.
    copied
        Objects of a shard that didn't change, and weren't joined anew.
    pool
        Digest of what the pool was made of that a cell was written with.
    chunks, crc32
        Of a cell, see `work.chunks`.
    outputs
        Files below the output, by path there: [size in bytes, CRC-32]; see `work.output_files`.
    damaged
        Files of an *invalid* cell and what is wrong with them, see `outcome.status_check`.
    """

    exit_code: int
    cause: str
    hint: str | None
    out_of_memory: bool
    log: str
    n: int
    files: dict[str, list[int]]
    cleaned: bool
    rows: dict[str, int]
    slices: dict[str, str]
    voxels: int
    merges: int
    sends: int
    read: dict[str, list[int]]
    sent: dict[str, list[int]]
    hub: list[int]
    sums: list[int]
    plan: str
    left_out: int
    classes: list[int]
    largest: list[list[int]]
    file: str
    pairs: list[int]
    sizes: list[int]
    contacts: dict[str, int]
    faces: int
    merged: list[int]
    threshold: dict[str, Any]
    joins: int
    objects: int
    labels: int
    dust: list[int]
    made: list[int]
    figures: dict[str, int]
    copied: int
    pool: str | None
    chunks: list[list[int]]
    crc32: list[str]
    outputs: dict[str, list[int]]
    damaged: list[tuple[str, str]]


class Failure(Info, total=False):
    """A failure in the result of a task; ``key`` None: outside any block, group or cell."""

    key: int | None


def failure_lines(failure: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What failed, why, what to do, and where the log of its own is, for people.

    ``where`` stands before the cause.
    """
    yield f"{where}{failure.get('cause')}"
    for name, word in (("hint", "what to do"), ("log", "log")):
        if failure.get(name):
            yield f"  {word}: {failure[name]}"


def files_info(written: Mapping[str, FileInfo]) -> dict[str, list[int]]:
    """Files as a record has them; back by `Record.files`."""
    return {name: [file.size, file.crc32] for name, file in written.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage made of one block, group or cell; `stages.loop` writes the record of it.

    Attributes
    ----------
    input, output
        Digests of what was read and of what was written.
    summary
        For the task's log, in a few words.
    cpu_s, peak_bytes
        Of a process of its own; None: it was made in this one.
    began, seconds
        Unix seconds, and wall time of the work on it alone, where its record follows later or it was
        made together with others; None: since the loop began it, until now.
    """

    state: Literal["done", "empty"]
    input: str
    output: str | None = None
    info: Info = field(default_factory=Info)
    summary: str = ""
    cpu_s: float | None = None
    peak_bytes: int | None = None
    began: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One event about one block or cell.

    Attributes
    ----------
    key
        Index of the block or cell.
    time
        Unix seconds, by the clock of ``host``.
    input, output
        Digests of what was read and of what was written.
    began
        Unix seconds, when the work on it began: before ``time`` by more than ``seconds`` where the
        record waited for a file that others share. None: as releases before wrote it.
    seconds, cpu_s, peak_bytes
        Wall time, CPU time and peak memory of the work.
    image
        Digest of the container image that did the work; None outside containers.
    job
        The cluster's job that did the work, ``12345_6``; None elsewhere.
    info
        What the stage adds.
    """

    key: int
    state: State
    time: float
    run: str = ""
    attempt: int | None = None
    batch: int | None = None
    host: str = ""
    pid: int | None = None
    input: str | None = None
    output: str | None = None
    began: float | None = None
    seconds: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    image: str | None = None
    job: str | None = None
    info: Info = field(default_factory=Info)

    @property
    def digests(self) -> tuple[str | None, str | None]:
        """Input and output."""
        return self.input, self.output

    @property
    def pool(self) -> str | None:
        """Of what was written: the input of the pool that it was written with."""
        return self.info.get("pool")

    @property
    def files(self) -> dict[str, FileInfo]:
        """Size and checksum of each file that holds the result, by its kind; {} where there is none."""
        return {name: FileInfo(*told) for name, told in self.info.get("files", {}).items()}

    @property
    def is_cleaned(self) -> bool:
        """Whether `clean` has removed the files that it told of."""
        return bool(self.info.get("cleaned"))

    def to_line(self) -> str:
        """One line of ASCII JSON without its newline; what is empty is left out."""
        values = ((name, getattr(self, name)) for name in _FIELDS)
        kept = {
            name: value for name, value in values if value is not None and value not in ("", {})
        }
        return json.dumps(kept, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Record:
        """The record of a line; fields that a newer version added are ignored."""
        values, _ = DECODER.raw_decode(line)
        try:
            return cls(**values)
        except TypeError:
            return cls(**{name: values[name] for name in _FIELDS if name in values})


_FIELDS = tuple(f.name for f in fields(Record))
