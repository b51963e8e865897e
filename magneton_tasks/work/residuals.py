"""What blocks of the exact method leave open: one file each, with all its tables.

::

    residuals/<k>/<number>.zip      2,000 in a directory
        regions.parquet               the open regions 1, 2, ...
        edges.parquet  basins.parquet  pairs.parquet
        faces.parquet                 of a block with neighbours: a row group a face, planes row by row

Regions are those of `kernels.exact.rounds.tables.Nodes`, the others those of `kernels.exact.residual`.
Where they have a ``key``, two columns stand for it that say more and take less: ``key_affinity``
(uint8) and ``key_position``, key = (affinity << 54) - position; ``last``, the largest position, is
stored as ``last_after``, how much it lies after that.

Members are stored as they are (Parquet compresses), so ``unzip`` and any Parquet reader open them.
Equal content gives equal bytes. Every byte is under a checksum which reading verifies.
"""

from __future__ import annotations

import errno
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.kernels.exact.faces import Face, Faces, Side
from magneton_tasks.kernels.exact.residual import DTYPES, Edges, Residual, UInt32, empty
from magneton_tasks.kernels.exact.rounds.tables import Nodes, names_of
from magneton_tasks.work import parquet
from magneton_tasks.work.residual_tables import RESIDUAL, SIDES, block_members, fill

_PER_DIRECTORY = 2000
#: Zip's earliest date: the same content gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


class ResidualStore:
    """The residuals of all blocks.

    Parameters
    ----------
    directory
        Of the stage; ``residuals`` lies in it.
    wait_s
        Seconds to look again for a file that a record names (``visibility_wait``).
    """

    def __init__(self, directory: Path, wait_s: float = 120.0) -> None:
        self._root = directory / "residuals"
        self._wait_s = wait_s

    def path(self, number: int) -> Path:
        """The file of a block."""
        return self._root / f"{number // _PER_DIRECTORY:04d}" / f"{number}.zip"

    def write(self, number: int, residual: Residual, regions: Nodes, faces: Faces) -> FileInfo:
        """Write what a block leaves open, and its faces; atomically and synced.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error.
        """
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, data in block_members(residual, regions, faces):
                member = zipfile.ZipInfo(f"{name}.parquet", _DATE)
                member.external_attr = 0o644 << 16  # else unzip makes files that nobody may read
                archive.writestr(member, data)
        return files.write_atomic(self.path(number), content.getbuffer(), is_ours=True)

    def read(self, number: int, info: FileInfo | None = None) -> tuple[Nodes, Residual]:
        """What a block leaves open: its regions, and the other tables.

        Holds, besides the result, the file's bytes and one table's share of them.

        Parameters
        ----------
        info
            What the record says of the file; without it any bytes will do that fit together.

        Raises
        ------
        NotVisibleError
            The file isn't there within ``wait_s``.
        CorruptFileError
            It is truncated or damaged, or isn't that of the record.
        OutputError
            The file system failed.
        """
        with self._opened(number, info, whole=True) as archive:
            tables = {name: archive.table(name, table) for name, table in RESIDUAL.items()}
            regions = archive.regions(number)
            return regions, Residual(regions.name.size, **tables)

    def read_open(
        self, number: int, info: FileInfo | None, room: Callable[[int], Edges]
    ) -> tuple[Nodes, Edges, UInt32]:
        """Of what `read` reads the regions, the edges, and the regions of basins; errors as there.

        ``room`` gives the rows that edges are read into.
        """
        with self._opened(number, info, whole=True) as archive:
            edges: Edges = archive.table("edges", Edges, room)
            return archive.regions(number), edges, archive.column("basins", "region")

    def read_for_faces(
        self, number: int, info: FileInfo | None, sides: Iterable[Side]
    ) -> tuple[Nodes, Residual, Faces]:
        """As `read`, but for the edges, whose table is empty; and some faces. Errors as `read`."""
        with self._opened(number, info) as archive:
            tables = {
                name: archive.table(name, table) if name != "edges" else empty(table)
                for name, table in RESIDUAL.items()
            }
            regions = archive.regions(number)
            residual = Residual(regions.name.size, **tables)
            return regions, residual, archive.faces(list(sides))

    @contextmanager
    def _opened(
        self, number: int, info: FileInfo | None, *, whole: bool = False
    ) -> Iterator[_Archive]:
        """The file, open; ``whole``: read at once and compared with its record."""
        path = self.path(number)
        if whole and info is not None:
            data = files.read_recorded(path, info.size, self._wait_s, info.crc32)
            with _archive(path, io.BytesIO(data)) as archive:
                yield archive
            return
        files.await_file(path, info.size if info else None, self._wait_s)
        with parquet.told(path), files.open_read(path) as file, _archive(path, file) as archive:
            yield archive


#: What zipfile, and a header that isn't ours, say of damage; RuntimeError: of features we don't use.
_DAMAGE = (
    zipfile.BadZipFile, struct.error, ValueError, KeyError, TypeError, EOFError, OverflowError, RuntimeError,
)  # fmt: skip


@contextmanager
def _archive(path: Path, file: BinaryIO) -> Iterator[_Archive]:
    """Whatever its bytes lead to while it's open becomes an error of ours."""
    with parquet.told(path):
        try:
            with zipfile.ZipFile(file) as opened:
                yield _Archive(path, opened)
        except _DAMAGE as error:
            raise parquet.corrupt(path, error) from error
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise parquet.corrupt(path, error) from error  # sought where no file goes


class _Archive:
    """An open file's tables."""

    def __init__(self, path: Path, opened: zipfile.ZipFile) -> None:
        self._path, self._zip = path, opened

    def table(self, name: str, kind: type[Any], room: Callable[[int], Any] | None = None) -> Any:
        """A table, row group by row group: nothing of it is held twice. ``room``: what it is read into."""
        table = self._member(name)
        rows = table.metadata.num_rows
        found = room(rows) if room else kind._make(np.empty(rows, t) for t in DTYPES[kind])
        row = 0
        for group in range(table.num_row_groups):
            part = parquet.read(table, [group])
            end = row + table.metadata.row_group(group).num_rows
            for field, column in zip(kind._fields, found, strict=True):
                fill(column[row:end], field, part)
            row = end
        return found

    def column(self, name: str, column: str) -> Any:
        """One column of a table."""
        table = self._member(name)
        return parquet.read(table, range(table.num_row_groups), [column])[column].copy()

    def regions(self, block: int) -> Nodes:
        table = self._member("regions")
        read = parquet.read(table, range(table.num_row_groups))
        columns = {name: column.copy() for name, column in read.items()}  # Arrow's are read-only
        count = len(columns["size"])
        return Nodes(
            names_of(block, np.arange(1, count + 1)),
            columns["size"],
            names_of(block, columns["least"]),
            columns["low"],
            np.full(count, block, np.uint32),
        )

    def faces(self, sides: list[Side]) -> Faces:
        if not sides:
            return {}
        table = self._member("faces")
        listed = json.loads(table.metadata.metadata[SIDES])
        where = {(axis, side): (group, shape) for group, (axis, side, shape) in enumerate(listed)}
        read = parquet.read(table, [where[side][0] for side in sides])
        found: Faces = {}
        begin = 0
        for side in sides:
            shape = where[side][1]
            end = begin + prod(shape)
            planes = {
                name: column[begin:end].reshape(shape).copy()  # Arrow's are read-only
                for name, column in read.items()
            }
            affinity = None if side[1] else planes["affinity"]
            found[side] = Face(planes["basins"], planes["picks"], affinity)
            begin = end
        return found

    def _member(self, name: str) -> Any:
        return parquet.from_bytes(self._zip.read(f"{name}.parquet"))  # compares its CRC-32
