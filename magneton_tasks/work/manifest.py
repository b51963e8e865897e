"""The manifest of a stage: what happened to each block or cell; standard library only.

Records (`work.record`) are JSON lines.

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

import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.errors import OutputError
from magneton_tasks.work.key_state import RANK, KeyState
from magneton_tasks.work.record import DECODER
from magneton_tasks.work.record_writer import RecordWriter

#: Bytes read at a time: what a big file costs on top of its lines, three times.
_READ_BYTES = 1 << 18


class ManifestReader:
    """Reads a manifest, and on each `refresh` only what was added since.

    Attributes
    ----------
    states
        What is known of each key so far; grows with every refresh.
    bad_lines
        Lines that are no records (damage by the file system): skipped, counted.
    offsets
        By file name, how many bytes of it have been read.
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
        decode, rank, keys = DECODER.raw_decode, RANK, self._keys
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
            self._add(key, line, time_s, order, values)

    def _add(self, key: int, line: str, time_s: float, rank: int, _: Mapping[str, Any]) -> None:
        """Take an event, of these values."""
        known = self.states.get(key)
        if known is None:
            self.states[key] = KeyState(line, time_s, rank)
        else:
            known.add(line, time_s, rank)


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
            With no more quiet files than this, nothing is merged.

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
        pending.extend(states[key].lines())
        if len(pending) >= 4096:
            yield ("\n".join(pending) + "\n").encode("ascii", "replace")
            pending.clear()
    if pending:
        yield ("\n".join(pending) + "\n").encode("ascii", "replace")
