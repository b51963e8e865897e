"""Which files below an output belong to a result: all those that the records of its stages name.

A stage that writes below the output stands in `OF_STAGE`. If its records name files one by one, it
puts ``outputs`` into each record that is done, and its line here is `named`::

    info["outputs"] = files_info({"mesh/0a.shard": written})     # stages/...: path below the output
    OF_STAGE = {..., "mesh_shards": named}                       # here

Whatever is listed so comes into the output's file list, and is removed when a later result doesn't
have it any more. What a stage doesn't list is never removed. The few files that verify writes itself
(the table of objects, say) are no stage's: verify hands them on where it writes the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from magneton_tasks.formats.listed import Listed
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.stage_table import SECTIONS
from magneton_tasks.work import chunks
from magneton_tasks.work.record import Record

if TYPE_CHECKING:  # heavy
    from magneton_tasks.formats.precomputed.store import PrecomputedStore


@dataclass(frozen=True)
class Written:
    """A result, as far as it tells which files it has.

    Attributes
    ----------
    store
        Knows the names of chunks and shards; it may lie anywhere.
    geometry
        Of the run that wrote it.
    records
        The valid records of a stage, by key; none of a stage that the run doesn't have.
    """

    store: PrecomputedStore
    geometry: Geometry
    records: Callable[[str], Mapping[int, Record]]


def of_result(written: Written) -> Iterator[Listed]:
    """Every file below the output that the records of a result name, in no order."""
    for stage, files in OF_STAGE.items():
        yield from files(written, stage)


def of_cells(written: Written, stage: str) -> Iterator[Listed]:
    """The chunks or shards of the volume."""
    keys = [scale.key for scale in written.store.scales]
    for key, record in written.records(stage).items():
        for part in chunks.parts(written.store, written.geometry, stage, key, record):
            sums = [None] * len(part.sizes) if part.crc32 is None else part.crc32
            for name, size, crc32 in zip(part.names, part.sizes, sums, strict=True):
                yield Listed(f"{keys[part.mip]}/{name}", size, crc32)


def named(written: Written, stage: str) -> Iterator[Listed]:
    """The files that records name by their path below the output."""
    return named_in(written.records(stage).values())


def named_in(records: Iterable[Record]) -> Iterator[Listed]:
    """As `named`, of some records."""
    for record in records:
        for name, (size, crc32) in record.info.get("outputs", {}).items():
            yield Listed(name, size, crc32)


#: By stage, which files of the output its records name.
OF_STAGE: Mapping[str, Callable[[Written, str], Iterator[Listed]]] = {
    "apply": of_cells,
    "downsample": of_cells,
    **{f"{section}_shards": named for section in SECTIONS},
}
