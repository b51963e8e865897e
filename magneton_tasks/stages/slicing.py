"""Files of slices that many keys share: what the stages of the exact method write, and how they read it.

A task collects what its blocks or groups leave, and writes a file of it now and then: their records
follow then, for a record tells of nothing that isn't on disk.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import CorruptFileError, NotVisibleError
from magneton_tasks.kernels.exact.rounds.tables import Int64
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.stages.loop import Begin, Process
from magneton_tasks.work import slice_writer, slices
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Info, Outcome, Record, files_info

#: A file is written when the tables in it had this many bytes, or after this many seconds: what a
#: kill may cost. Or when it holds what so many keys left: what is told of them is held until then.
FLUSH_BYTES = 256 << 20
FLUSH_S = 60.0
FLUSH_KEYS = 512

#: Kinds of files that `clean` frees.
_FREED = ("faces", "sent", "names", "supervoxels")

#: The tables of a file, by what the file is called.
Kinds = Mapping[str, Sequence[type[Any]]]


class Rows(NamedTuple):
    """A table that goes into a kind of file, as of `slice_writer.SliceWriter.add`."""

    name: str
    table: Any
    to: Any = 0
    source: int | None = None
    """None: the key."""


@dataclass
class Made:
    """What became of a key: its outcome but for files, and what goes into them."""

    outcome: Outcome
    rows: list[Rows] = field(default_factory=list)


def digest_of(*tables: Any) -> str:
    """Digest of the content of tables, by the lengths and the CRC-32 of their columns."""
    told = [
        (column.nbytes, zlib.crc32(np.ascontiguousarray(column).data))
        for table in tables
        for column in table
    ]
    return blake2b(repr(told).encode(), digest_size=8).hexdigest()


class _File:
    """Files of slices that are being written, one of each kind that has rows."""

    def __init__(self, directory: Path, kinds: Kinds) -> None:
        self._directory, self._kinds = directory, kinds
        self._stack = ExitStack()
        self._writers: dict[str, slice_writer.SliceWriter] = {}
        self.since, self.bytes = time.monotonic(), 0
        #: keys, their outcomes, what these tell as JSON (a tenth of the memory), and what the files are
        #: called that they have rows in: no tables
        self.made: list[tuple[int, Outcome, str, tuple[str, ...]]] = []

    def add(self, key: int, made: Made, since: float) -> None:
        """Take over what became of a key, worked since then: what the file takes later isn't its own."""
        for name, table, to, source in made.rows:
            if name not in self._writers:
                path = slice_writer.new_path(self._directory, name)
                writer = slice_writer.SliceWriter(path, self._kinds[name])
                self._writers[name] = self._stack.enter_context(writer)
            self._writers[name].add(key if source is None else source, table, to)
            self.bytes += sum(column.nbytes for column in table)
        outcome, seconds = made.outcome, made.outcome.seconds
        told = json.dumps(outcome.info)
        outcome = replace(
            outcome, info=Info(), seconds=time.monotonic() - since if seconds is None else seconds
        )
        mine = tuple(sorted({rows.name for rows in made.rows}))
        self.made.append((key, outcome, told, mine))

    @property
    def is_due(self) -> bool:
        is_large = self.bytes >= FLUSH_BYTES or len(self.made) >= FLUSH_KEYS
        return is_large or time.monotonic() - self.since > FLUSH_S

    def close(self) -> Iterator[tuple[int, Outcome | Exception]]:
        """Put the files in place, then tell of each key."""
        try:
            self._stack.close()
        except Exception as error:
            if self.made:
                yield self.made[0][0], error
            return
        for key, outcome, told, mine in self.made:
            info: Info = json.loads(told)
            written = {name: self._writers[name].info for name in mine}
            info["files"] = info.get("files", {}) | files_info(written)
            info["slices"] = {name: self._writers[name].path.name for name in mine}
            yield key, replace(outcome, info=info)

    def give_up(self, error: BaseException) -> None:
        """Leave nothing of what was written."""
        self._stack.__exit__(type(error), error, error.__traceback__)


def into_slices(
    directory: Path,
    kinds: Kinds,
    one: Callable[[int], Made],
    ready: Callable[[], object],
) -> Process:
    """Work key by key, and write what many leave together.

    Parameters
    ----------
    directory
        Of the stage; files lie in it.
    ready
        Called before the first: what isn't there is waited for once, not once a key.
    """

    def process(keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            ready()
        file = _File(directory, kinds)
        try:
            for key in keys:
                begin(key)
                since = time.monotonic()
                try:
                    made = one(key)
                except Exception as error:
                    yield key, error
                    continue
                try:
                    file.add(key, made, since)
                except Exception as error:
                    file.give_up(error)
                    yield key, error
                    file = _File(directory, kinds)
                    continue
                del made  # or the next one's tables would come on top
                if file.is_due:
                    yield from file.close()
                    file = _File(directory, kinds)
        except BaseException as error:
            file.give_up(error)
            raise
        yield from file.close()

    return process


# ------------------------------------------------------------------ reading
class SliceReader:
    """Reads what the records of a stage name.

    A file that is damaged, or doesn't show up, makes the records of its keys invalid: a rerun makes
    them again.
    """

    def __init__(
        self, attempt: Attempt, stage: str, records: Mapping[int, Record], directory: Path
    ) -> None:
        self._attempt, self._stage, self._records = attempt, stage, records
        self._directory = directory

    def read(
        self,
        name: str,
        kinds: Sequence[type[Any]],
        keys: Collection[int],
        *,
        sources: Callable[[int], Collection[int]] = lambda key: (key,),
        to: Collection[int] | None = None,
    ) -> list[Any]:
        """Tables of some keys, one after the other.

        Parameters
        ----------
        name
            Of the kind of file.
        keys
            Those without such a file have no rows.
        sources
            Of a key.
        to
            Destinations; None: all.
        """
        owners: dict[Path, list[int]] = {}
        infos: dict[Path, FileInfo | None] = {}
        for key in sorted(keys):
            record = self._records[key]
            if name not in record.info.get("slices", {}):
                if record.is_cleaned and name in _FREED:
                    self._refuse(key)
                continue
            path = self._directory / record.info["slices"][name]
            owners.setdefault(path, []).append(key)
            infos[path] = record.files[name]
        with self._invalidating(owners):
            return slices.read_all(
                infos,
                kinds,
                self._attempt.wait_s,
                sources=lambda path: [s for key in owners[path] for s in sources(key)],
                to=to,
            )

    def _refuse(self, key: int) -> None:
        raise NotVisibleError(
            f"{self._stage} {key}: its files were removed by `magneton clean`",
            "rerun (in Airflow: clear the task plan): they are made again",
        )

    def _sharing(self, names: Set[str]) -> list[int]:
        """All keys of the stage whose records name one of these files, whoever asked for which."""
        states = self._attempt.manifest(self._stage).read()
        records = ((key, state.valid) for key, state in states.items())
        return [
            key
            for key, record in records
            if record is not None and names & set(record.info.get("slices", {}).values())
        ]

    @contextmanager
    def _invalidating(self, owners: Mapping[Path, list[int]]) -> Iterator[None]:
        try:
            yield
        except (CorruptFileError, NotVisibleError) as error:
            damaged = {path.name for path in owners if path.name in error.what}
            keys = self._sharing(damaged or {path.name for path in owners})
            self._attempt.invalidate(self._stage, dict.fromkeys(keys, error.what))
            raise type(error)(
                error.what,
                "rerun (in Airflow: clear the task plan): what the file held is made again",
            ) from None


def groups_of(groups: Groups, blocks: Int64) -> Int64:
    """The group of each block."""
    total = prod(groups.blocks)
    if blocks.size > total:
        return groups_of(groups, np.arange(total))[blocks]
    position = np.stack(np.unravel_index(blocks, groups.blocks))
    number = [
        np.searchsorted(cuts, at, side="right") - 1
        for cuts, at in zip(groups.cuts, position, strict=True)
    ]
    return np.asarray(np.ravel_multi_index(number, groups.shape), np.int64)
