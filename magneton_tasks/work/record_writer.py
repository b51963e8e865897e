"""Writes the records of a process, one by one; standard library only."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

from magneton_tasks.base import files
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Info, Record, State

#: Tells a worker the digest of the container image that it runs in.
IMAGE_VARIABLE = "MAGNETON_IMAGE_DIGEST"
#: Tells a worker the index of the array that it is on a cluster, ``12345_6``.
JOB_VARIABLE = "MAGNETON_JOB"
#: Two events of one key differ by at least this, in seconds.
TICK_S = 1e-3


class Given(TypedDict, total=False):
    """Fields of `Record` that a writer is given."""

    run: str
    attempt: int | None
    batch: int | None
    input: str | None
    output: str | None
    began: float | None
    seconds: float | None
    cpu_s: float | None
    peak_bytes: int | None
    #: by default what this process runs in
    image: str | None
    job: str | None
    info: Info


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
        self._where = Given(image=os.environ.get(IMAGE_VARIABLE), job=os.environ.get(JOB_VARIABLE))

    def add(
        self,
        key: int,
        state: State,
        *,
        after: KeyState | Record | None = None,
        **values: Unpack[Given],
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
        earliest = self._newest_s if after is None else max(self._newest_s, after.time + TICK_S)
        time_s = round(max(time.time(), earliest), 6)
        given: Given = {"run": self._run, "batch": self._batch, **self._where, **values}
        record = Record(key, state, time_s, host=files.host_name(), pid=os.getpid(), **given)
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

    def sync(self) -> None:
        """Sync what was written, *started* too.

        Raises
        ------
        OutputError
            I/O error.
        """
        try:
            if self._descriptor is not None:
                os.fsync(self._descriptor)
        except OSError as error:
            raise files.writing_failed(self._directory / self._stem, error) from error

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
