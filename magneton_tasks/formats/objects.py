"""The files of one volume, on file:// or in a bucket, behind a few calls.

On file:// every write is atomic (`base.files.write_atomic`); gs:// and s3:// are atomic by themselves
and go through cloud-files, imported only then.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo, NewFile
from magneton_tasks.base.location import Location, cloud_files, connection_errors, parse_json
from magneton_tasks.errors import NoInputError, OutputError


class Sink(Protocol):
    """What takes a file's bytes."""

    def write(self, piece: bytes, /) -> object: ...


class Objects:
    """The files below one URL.

    Parameters
    ----------
    location
        From `metadata.locate`.
    sync
        False skips fsync on file:// (samples and tests, never real output).
    """

    def __init__(self, location: Location, *, sync: bool = True) -> None:
        self.location = location
        self.sync = sync

    @property
    def is_local(self) -> bool:
        return self.location.path is not None

    def path(self, name: str) -> Path:
        """Where a file lies; only on file://."""
        assert self.location.path is not None
        return self.location.path / name

    def get(self, name: str, *, raw: bool = False) -> bytes | None:
        """A file's bytes; None where it isn't there, or is a directory.

        ``raw``: as they are stored; else a bucket's content encoding is undone.

        Raises
        ------
        OutputError, TemporaryError
            It can't be read; the connection failed.
        """
        if self.is_local:
            try:
                return self.path(name).read_bytes()
            except (FileNotFoundError, IsADirectoryError):
                return None
            except OSError as error:
                raise OutputError(f"can't read {self.path(name)}: {error.strerror}") from error
        with connection_errors(f"{self.location.url}/{name}"):
            data: bytes | None = cloud_files(self.location.url).get(name, raw=raw)
            return data

    def get_part(self, name: str, begin: int, end: int) -> bytes:
        """Bytes of a file in a bucket, as they are stored; fewer where it ends before.

        Raises
        ------
        NoInputError, TemporaryError
            It isn't there; the connection failed.
        """
        url = f"{self.location.url}/{name}"
        with connection_errors(url):
            part = {"path": name, "start": begin, "end": end}
            data: bytes | None = cloud_files(self.location.url).get(part, raw=True)
        if data is None:
            raise NoInputError(f"{url} isn't there")
        return data

    @contextmanager
    def reading(self, directory: str) -> Iterator[Callable[[str, int], bytes | None]]:
        """Reads files of a directory as they are stored, each by its name and the size it should have.

        What is read ends a byte after that size; None: the file isn't there. Names relative to
        the open directory, and a size to read at once, take a third of the time of `get`.

        Raises
        ------
        OutputError, TemporaryError
            As `get`.
        """
        if not self.is_local:
            yield lambda name, _: self.get(f"{directory}/{name}", raw=True)
            return
        path = self.path(directory)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield lambda name, size: None
            return
        try:
            yield lambda name, size: _read_in(descriptor, path, name, size)
        finally:
            os.close(descriptor)

    def put(
        self, name: str, data: bytes | Sequence[bytes], compress: str | None = None
    ) -> FileInfo:
        """Write a file of these bytes, or pieces; ``compress`` says how they are compressed already.

        Returns
        -------
        FileInfo
            Size and CRC-32 of the bytes that were written.

        Raises
        ------
        OutputError, TemporaryError
        """
        if self.is_local and self.sync:
            return files.write_atomic(self.path(name), data, sync_parent=False, is_ours=True)
        data = data if isinstance(data, bytes) else b"".join(data)
        if self.is_local:
            self._put_unsynced(self.path(name), data)
        else:
            with connection_errors(f"{self.location.url}/{name}", writes=True):
                cloud_files(self.location.url).put(
                    name, data, raw=True, compress=compress, cache_control="no-cache"
                )
        return FileInfo(len(data), zlib.crc32(data))

    @contextmanager
    def new_file(self, name: str, scratch: Path) -> Iterator[NewFile]:
        """A file that is made piece by piece, and appears whole when the context ends.

        Parameters
        ----------
        scratch
            A path on this machine where one for a bucket is put together.

        Raises
        ------
        OutputError, TemporaryError
            It can't be written; the connection failed. Nothing is left of it.
        """
        if self.is_local:
            with files.writing(self.path(name)) as file:
                yield file
            return
        try:
            with files.writing(scratch) as file:
                yield file
            self.put(name, scratch.read_bytes())
        finally:
            scratch.unlink(missing_ok=True)

    def _put_unsynced(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise files.writing_failed(path, error) from error

    @contextmanager
    def writing(self, name: str) -> Iterator[Sink]:
        """A file that is written piece by piece, and appears whole when the context ends.

        After an exception nothing is left of it. What goes to a bucket is held until then.

        Raises
        ------
        OutputError, TemporaryError
            As `put`.
        """
        if self.is_local:
            with files.writing(self.path(name)) as file:
                yield file
            return
        held = io.BytesIO()
        yield held
        self.put(name, held.getvalue())

    def size_of(self, name: str) -> int | None:
        """A file's size in bytes, as it is stored; None where it isn't there."""
        if self.is_local:
            return files.stat_size(self.path(name))
        with connection_errors(f"{self.location.url}/{name}"):
            size: int | None = cloud_files(self.location.url).size(name)
            return size

    def sync_directory(self, name: str = "") -> None:
        """Make the renames in a directory durable; nothing to do in a bucket."""
        if self.is_local and self.sync:
            files.sync_directory(self.path(name))

    def get_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object; None where the file isn't there.

        Raises
        ------
        BadDataError
            It isn't a JSON object.
        """
        data = self.get(name)
        if data is None:
            return None
        return parse_json(data, self.location.name_of(name))

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON object, indented."""
        self.put(name, (json.dumps(dict(content), indent=2) + "\n").encode())
        self.sync_directory()

    def names(self) -> list[str]:
        """Files and directories at the top, none where it doesn't exist; of a bucket up to 100."""
        if self.is_local:
            return files.listdir(self.path(""))
        with connection_errors(self.location.url):
            found = cloud_files(self.location.url).list(flat=True)
            return [name.rstrip("/") for name in islice(found, 100)]

    def some_names(self, directory: str, count: int = 100) -> list[str]:
        """Up to ``count`` file names of a directory on file://, in no order."""
        try:
            with os.scandir(self.path(directory)) as entries:
                return [entry.name for entry in islice(entries, count)]
        except FileNotFoundError:
            return []

    def sizes(self, directory: str) -> dict[str, int]:
        """Name -> size in bytes of the files in a directory; none where it doesn't exist.

        Temporaries of writers that were killed aren't listed.
        """
        if self.is_local:
            return _sizes_on_disk(self.path(directory))
        with connection_errors(f"{self.location.url}/{directory}"):
            prefix = f"{directory}/"
            found = cloud_files(self.location.url).list(prefix=prefix, size=True)
            sizes = {name.removeprefix(prefix): int(size) for name, size in found}
            return {name: size for name, size in sizes.items() if "/" not in name}


def _read_in(directory: int, path: Path, name: str, size: int) -> bytes | None:
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            data = os.read(file, size + 1)
            while 0 < len(data) < size and (more := os.read(file, size + 1 - len(data))):
                data += more
        finally:
            os.close(file)
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"can't read {path / name}: {error.strerror}") from error
    return data


def _sizes_on_disk(directory: Path) -> dict[str, int]:
    """Half a million chunks are usual: names relative to the open directory save a third."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    sizes = {}
    try:
        for name in os.listdir(descriptor):
            if name.startswith(".") and files.is_temporary(name):
                continue
            try:
                sizes[name] = os.stat(name, dir_fd=descriptor).st_size
            except FileNotFoundError:
                continue  # gone since
    finally:
        os.close(descriptor)
    return sizes
