"""Records: what happened to each block or cell, as JSON lines; standard library only.

Every process appends to a file of its own, one `write` a line, so that no two writers share a
file and no lock is needed, on any shared file system. The directory as a whole is the manifest::

    records/<run>-<stage>-<batch>-<part>-<host>-<pid>-<random>.jsonl      one per process
    records/compact-<n>.jsonl                                             older ones, merged

A kill leaves at most a torn last line, which is ignored. What counts for a key is its newest
event, but a *done* is hidden only by a newer *invalid*, never by the *started* or *failed* of a
later try (`KeyState`). Merging is therefore independent of the order in which files are read.

A directory should hold at most 2,000 files: a batch's part is one file an attempt, and plan
compacts before it adds more.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from magneton_tasks.base import files
from magneton_tasks.errors import OutputError

State = Literal["started", "failed", "empty", "done", "invalid"]

#: Which of two events of the same time counts: the later in this order.
_STATES: tuple[State, ...] = get_args(State)
_RANK: dict[str, int] = {state: rank for rank, state in enumerate(_STATES)}
#: From this rank on an event settles whether there's a result.
_SETTLED = _RANK["empty"]
_INVALID = _RANK["invalid"]

#: Tells a worker the digest of the container image that it runs in.
IMAGE_VARIABLE = "MAGNETON_IMAGE_DIGEST"
#: Tells a worker the index of the array that it is on a cluster, ``12345_6``.
JOB_VARIABLE = "MAGNETON_JOB"
#: Bytes read at a time; bounds what a big compacted file costs on top of its lines.
_READ_BYTES = 8 << 20
#: Two events of one key differ by at least this, in seconds.
_TICK_S = 1e-3


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
    seconds, cpu_s, peak_bytes
        Wall time, CPU time and peak memory of the work.
    image
        Digest of the container image that did the work; None outside containers.
    job
        The cluster's job that did the work, ``12345_6``; None elsewhere.
    info
        What the stage adds: ``n`` (labels), ``files`` {name: [size, crc32]}, ``exit_code``,
        ``cause``, ``hint``, ``log``, ...; plain JSON.
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
    seconds: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    image: str | None = None
    job: str | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def digests(self) -> tuple[str | None, str | None]:
        """Input and output."""
        return self.input, self.output

    @property
    def pool(self) -> str | None:
        """Of what was written: the input of the pool that it was written with."""
        return self.info.get("pool")

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
        values, _ = _DECODER.raw_decode(line)
        try:
            return cls(**values)
        except TypeError:
            return cls(**{name: values[name] for name in _FIELDS if name in values})


_DECODER = json.JSONDecoder()
#: The digests of a line, which stand side by side, before whatever ``info`` holds; and the pool's,
#: which is in there (a quote inside a text has a backslash before it).
_DIGESTS = re.compile(r'"input":"([^"\\]*)"(?:,"output":"([^"\\]*)")?')
#: The figures of a line, before whatever ``info`` holds.
_FIGURES = re.compile(r'"(seconds|cpu_s|peak_bytes)":([0-9.e+-]+)')
_POOL = re.compile(r'"pool":"([^"\\]*)"')
_FIELDS = tuple(f.name for f in fields(Record))


class KeyState:
    """What the manifest says about one key.

    It keeps lines and not records, and no objects beside them: a million keys take 0.6 GB.
    """

    __slots__ = ("_last", "_last_rank", "_settled", "_settled_rank", "_settled_s", "time")

    def __init__(self, line: str, time_s: float, rank: int) -> None:
        #: time of the newest event, in unix seconds
        self.time = time_s
        self._last, self._last_rank = line, rank
        self._settled: str | None = None
        if rank >= _SETTLED:
            self._settled, self._settled_s, self._settled_rank = line, time_s, rank

    def _add(self, line: str, time_s: float, rank: int) -> None:
        if (time_s, rank) > (self.time, self._last_rank):
            self._last, self.time, self._last_rank = line, time_s, rank
        if rank >= _SETTLED and (
            self._settled is None or (time_s, rank) > (self._settled_s, self._settled_rank)
        ):
            self._settled, self._settled_s, self._settled_rank = line, time_s, rank

    @property
    def is_valid(self) -> bool:
        """Whether there is a result: done or empty, and not made invalid since."""
        return self._settled is not None and self._settled_rank != _INVALID

    @property
    def valid(self) -> Record | None:
        """The newest *done* or *empty*; None where there's none, or an *invalid* is newer."""
        line = self._settled
        return Record.from_line(line) if line is not None and self.is_valid else None

    @property
    def given_up(self) -> Record | None:
        """The newest *invalid*, where it hides the result; None elsewhere."""
        line = self._settled
        return Record.from_line(line) if line is not None and not self.is_valid else None

    @property
    def digests(self) -> tuple[str | None, str | None]:
        """Input and output of `valid`; a twentieth of the time that parsing it takes."""
        line = self._settled
        if line is None or not self.is_valid:
            return None, None
        found = _DIGESTS.search(line)
        return (found[1], found[2]) if found else (None, None)

    @property
    def figures(self) -> tuple[float | None, float | None, int | None]:
        """Wall time (s), CPU time (s) and peak memory (bytes) of `valid`, as cheap as `digests`."""
        line = self._settled
        if line is None or not self.is_valid:
            return None, None, None
        end = line.find('"info":')
        told = dict(_FIGURES.findall(line, 0, end if end >= 0 else len(line)))
        seconds, cpu_s, peak = (told.get(name) for name in ("seconds", "cpu_s", "peak_bytes"))
        return (
            None if seconds is None else float(seconds),
            None if cpu_s is None else float(cpu_s),
            None if peak is None else int(peak),
        )

    def holds(self, text: str) -> bool:
        """Whether the line of `valid` holds a piece of compact JSON; costs no parsing."""
        return self.is_valid and self._settled is not None and text in self._settled

    @property
    def pool(self) -> str | None:
        """`Record.pool` of `valid`; costs no parsing."""
        line = self._settled
        found = _POOL.search(line) if line is not None and self.is_valid else None
        return found[1] if found else None

    @property
    def is_cleaned(self) -> bool:
        """`Record.is_cleaned` of `valid`; costs no parsing."""
        line = self._settled
        return line is not None and self.is_valid and '"cleaned":true' in line

    @property
    def last(self) -> Record:
        """The newest event of any kind."""
        return Record.from_line(self._last)

    @property
    def last_state(self) -> State:
        """The state of `last`; costs no parsing."""
        return _STATES[self._last_rank]

    @property
    def state(self) -> State:
        """The state of `valid`, else that of `last`; costs no parsing."""
        return _STATES[self._settled_rank if self.is_valid else self._last_rank]

    def _lines(self) -> Iterator[str]:
        """The lines that a compaction has to keep."""
        if self._settled is not None and self._settled is not self._last:
            yield self._settled
        yield self._last


class RecordWriter:
    """Appends the records of this process to a file of its own, made at the first record.

    After a fork, the child's first record opens a file of the child's own. Let the parent write
    the records of children that do one block each, or there will be one file per block.
    """

    def __init__(self, directory: Path, run: str, stage: str, batch: int, part: int) -> None:
        self._directory = directory
        self._run, self._batch = run, batch
        self._stem = f"{run[:100]}-{stage}-{batch}-{part}"
        self._descriptor: int | None = None
        self._pid = os.getpid()
        self._newest_s = 0.0
        #: the container image that this process runs in, and the cluster's job
        self._where = {"image": os.environ.get(IMAGE_VARIABLE), "job": os.environ.get(JOB_VARIABLE)}

    def add(
        self, key: int, state: State, *, after: KeyState | Record | None = None, **values: Any
    ) -> Record:
        """Write a record of this process, now.

        Parameters
        ----------
        after
            What the record must supersede. Its time is made later than that, whatever the
            clocks of the two machines say: pass it with *invalid*, and when a key is redone.
        values
            Further fields of `Record`.
        """
        earliest = self._newest_s if after is None else max(self._newest_s, after.time + _TICK_S)
        values = {"run": self._run, "batch": self._batch, **self._where, **values}
        values |= {"host": files.host_name(), "pid": os.getpid()}
        record = Record(key, state, round(max(time.time(), earliest), 6), **values)
        self.write(record)
        return record

    def write(self, record: Record) -> None:
        """Append one record; all but *started* are synced before this returns.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error. The next record goes to a new file, so that a torn line
            stays the last of its own.
        """
        line = record.to_line().encode("ascii") + b"\n"
        try:
            descriptor = self._open()
            if os.write(descriptor, line) != len(line):
                raise OSError(28, os.strerror(28))  # a short write is how ENOSPC begins
            if record.state != "started":
                os.fsync(descriptor)
            if os.fstat(descriptor).st_nlink == 0:  # compacted away while this process was silent
                self.close()
                os.write(self._open(), line)
        except OSError as error:
            with suppress(OSError):
                self.close()
            raise files.writing_failed(self._directory / self._stem, error) from error
        self._newest_s = max(self._newest_s, record.time)

    def _open(self) -> int:
        if self._pid != os.getpid():  # forked: the parent goes on with its file
            self.close()
            self._pid = os.getpid()
        if self._descriptor is None:
            files.make_directory(self._directory)
            path = self._directory / f"{self._stem}-{files.unique_suffix()}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)
            files.sync_directory(self._directory)
        return self._descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ManifestReader:
    """Reads a manifest, and on each `refresh` only what was added since.

    Attributes
    ----------
    states
        What is known of each key so far; grows with every refresh.
    bad_lines
        Lines that are no records (damage by the file system): skipped, counted.
    """

    def __init__(self, directory: Path, keys: Collection[int] | None = None) -> None:
        self.states: dict[int, KeyState] = {}
        self.bad_lines = 0
        self.offsets: dict[str, int] = {}
        self._directory = directory
        self._keys = keys

    def refresh(self) -> dict[int, KeyState]:
        """Read what is new; returns `states`.

        Raises
        ------
        OutputError
            The file system failed. A file that a compaction removed meanwhile is no error.
        """
        if not self._read_all():
            self._read_all()  # what has gone since it was listed lies in another file now
        return self.states

    def _read_all(self) -> bool:
        """Read every file on; False where one has gone meanwhile."""
        is_whole = True
        for name in files.listdir(self._directory):
            if name.endswith(".jsonl"):
                path = self._directory / name
                try:
                    self._read_on(path)
                except FileNotFoundError:
                    is_whole = False
                except IsADirectoryError:
                    self.bad_lines += 1  # the next plan moves it aside
                except OSError as error:
                    raise OutputError(
                        f"can't read {path}: {error.strerror}",
                        "fix the file system or the permissions, then rerun; finished work stays",
                    ) from error
        return is_whole

    def _read_on(self, path: Path) -> None:
        offset = self.offsets.get(path.name, 0)
        if files.stat_size(path) == offset:
            return
        with files.open_read(path) as file:
            file.seek(offset)
            rest = b""
            while data := file.read(_READ_BYTES):
                whole, newline, rest = (rest + data).rpartition(b"\n")
                # Zeros are bytes of another machine that are still on their way (or a power
                # loss ate them): like a torn line, what follows them isn't there yet.
                hole = whole.find(b"\0")
                if hole >= 0:
                    whole, newline, _ = whole[:hole].rpartition(b"\n")
                if newline:
                    self._parse(whole.decode("ascii", "replace"))
                    self.offsets[path.name] = offset = offset + len(whole) + 1
                if hole >= 0:
                    return

    def _parse(self, text: str) -> None:
        decode, rank, keys, states = _DECODER.raw_decode, _RANK, self._keys, self.states
        for line in text.split("\n"):
            try:
                values, end = decode(
                    line
                )  # json.loads takes 1.7 times as long for such short lines
                if end != len(line):
                    raise ValueError("something follows the record")
                key, time_s, order = values["key"], float(values["time"]), rank[values["state"]]
            except (ValueError, KeyError, TypeError):
                self.bad_lines += 1
                continue
            if keys is not None and key not in keys:
                continue
            known = states.get(key)
            if known is None:
                states[key] = KeyState(line, time_s, order)
            else:
                known._add(line, time_s, order)


class Manifest:
    """All records of one stage's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def writer(self, run: str, stage: str, batch: int, part: int = 0) -> RecordWriter:
        """A writer for this process; see `RecordWriter`."""
        return RecordWriter(self.directory, run, stage, batch, part)

    def reader(self, keys: Collection[int] | None = None) -> ManifestReader:
        """A reader that can be refreshed; with ``keys`` it keeps only these (a set or a range)."""
        return ManifestReader(self.directory, keys)

    def read(self, keys: Collection[int] | None = None) -> dict[int, KeyState]:
        """What is known of each key; keys without any record are missing from it."""
        return self.reader(keys).refresh()

    def wait_for(self, keys: Collection[int], wait_s: float) -> set[int]:
        """Look again until every key has a valid record, or ``wait_s`` has passed.

        Returns
        -------
        set of int
            The keys that still have none.
        """
        reader = self.reader(keys)
        deadline = files.clock() + wait_s
        missing = set(keys)
        for pause in files.pauses():
            states = reader.refresh()
            missing = {key for key in missing if key not in states or not states[key].is_valid}
            left = deadline - files.clock()
            if not missing or left <= 0:
                break
            files.sleep(min(pause, left))
        return missing

    def compact(self, min_files: int = 64, quiet_s: float = 600.0) -> int:
        """Merge the files that nobody has written to for ``quiet_s`` into one.

        Call it while holding the lease. A kill at any point loses nothing: the merged file is in
        place before the first old one goes, and merging again changes nothing.

        Parameters
        ----------
        min_files
            With no more quiet files than this, nothing is done.

        Returns
        -------
        int
            How many files were merged.
        """
        now = time.time()
        paths = [self.directory / name for name in files.listdir(self.directory)]
        for path in paths:
            if path.suffix == ".jsonl" and path.is_dir():
                files.move_aside(path, "a directory lay where records belong")
        quiet = [
            p for p in paths if p.suffix == ".jsonl" and p.is_file() and _is_quiet(p, now, quiet_s)
        ]
        if len(quiet) <= min_files:
            return 0
        reader = ManifestReader(self.directory)
        for path in quiet:
            reader._read_on(path)
        files.write_atomic(self.next_compact(), _merged(reader.states))
        for path in quiet:
            if _is_quiet(path, now, quiet_s):  # else whoever writes it isn't dead after all
                path.unlink(missing_ok=True)
        files.sync_directory(self.directory)
        return len(quiet)

    def next_compact(self) -> Path:
        """Where records of many processes are put together next."""
        names = (name for name in files.listdir(self.directory) if name.startswith("compact-"))
        numbers = [int(n) for name in names if (n := name[8:].removesuffix(".jsonl")).isdigit()]
        return self.directory / f"compact-{max(numbers, default=0) + 1}.jsonl"


def _is_quiet(path: Path, now: float, quiet_s: float) -> bool:
    modified = files.modified_s(path)
    return modified is not None and now - modified >= quiet_s


def _merged(states: dict[int, KeyState]) -> Iterator[bytes]:
    """The lines to keep, in the order of their keys, some thousand at a time."""
    pending: list[str] = []
    for key in sorted(states):
        pending.extend(states[key]._lines())
        if len(pending) >= 4096:
            yield ("\n".join(pending) + "\n").encode("ascii", "replace")
            pending.clear()
    if pending:
        yield ("\n".join(pending) + "\n").encode("ascii", "replace")
