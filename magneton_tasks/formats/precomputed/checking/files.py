"""The files of somebody else's layer: listed without holding all names, and read whatever they are compressed with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from magneton_tasks.base import files
from magneton_tasks.base.failures import telling
from magneton_tasks.base.location import cloud_files, connection_errors
from magneton_tasks.formats.inflating import decompress
from magneton_tasks.formats.info import ENCODING_OF
from magneton_tasks.formats.objects import Objects

#: Names that a server is asked for at once.
_AT_ONCE = 1000
#: gzip, brotli and zstd make at most so many bytes of one here: more is a bomb.
_INFLATES = 1 << 15


def can_list(objects: Objects) -> bool:
    """Whether the files of a folder can be listed: web servers don't."""
    return not objects.location.is_read_only


def entries(objects: Objects, folder: str) -> Iterator[tuple[str, int]]:
    """Name and size of each file of a folder, in no order; none where it doesn't exist.

    Raises
    ------
    OutputError, TemporaryError
    """
    if objects.is_local:
        yield from _entries_on_disk(objects, folder)
        return
    prefix = f"{folder}/"
    with connection_errors(f"{objects.location.url}/{folder}"):
        for name, size in cloud_files(objects.location.url).list(prefix=prefix, size=True):
            if "/" not in (rest := name.removeprefix(prefix)):
                yield rest, int(size)


def _entries_on_disk(objects: Objects, folder: str) -> Iterator[tuple[str, int]]:
    path = objects.path(folder)
    with telling(f"{path} can't be read"):
        try:
            found = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        with found:
            for entry in found:
                if entry.is_file() and not files.is_temporary(entry.name):
                    yield entry.name, entry.stat().st_size


def sizes_of(objects: Objects, names: Sequence[str]) -> dict[str, int]:
    """Sizes of those files that are there, each asked for by its name."""
    if objects.is_local:
        paths = {name: objects.path(name) for name in names}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    found = dict[str, int]()
    with connection_errors(objects.location.url):
        remote = cloud_files(objects.location.url)
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            here = [name for name, is_here in remote.exists(some).items() if is_here]
            found |= {name: int(size or 0) for name, size in remote.size(here).items()}
    return found


def content(objects: Objects, name: str) -> bytes | None:
    """A file as its writer gave it, decompressed; None where it isn't there.

    Raises
    ------
    BadDataError
        It can't be decompressed.
    OutputError, TemporaryError
    """
    if not objects.is_local:
        return objects.get(name)
    for suffix in ENCODING_OF:
        data = objects.get(name + suffix)
        if data is not None:
            return decompress(data, name + suffix, _INFLATES * len(data)) if suffix else data
    return None


def stem_of(name: str) -> str:
    """A file's name without the suffix of its compression."""
    for suffix in ENCODING_OF:
        if suffix and name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
