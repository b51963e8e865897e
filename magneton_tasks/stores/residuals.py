"""What blocks and groups of the exact method leave open: one file each, with all its tables.

::

    residuals/<k>/<number>.zip      2,000 in a directory
        regions.parquet  edges.parquet  basins.parquet  pairs.parquet  face_basins.parquet
        faces.parquet                 of a block: a row group a face, planes row by row
        joins.parquet                 of a group: which labels are one object

The tables are those of `kernels.residual`; one without rows isn't there. The members are stored as
they are (Parquet compresses), so ``unzip`` and any Parquet reader open them. Equal content gives
equal bytes. Pages and members have checksums, which reading verifies.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from magneton_tasks import files
from magneton_tasks.errors import CorruptFileError, NotVisibleError
from magneton_tasks.files import FileInfo
from magneton_tasks.kernels.faces import Face, Faces, Side
from magneton_tasks.kernels.residual import (
    DTYPES,
    BasinPairs,
    Basins,
    Edges,
    FaceBasins,
    Joins,
    Regions,
    Residual,
    empty,
)
from magneton_tasks.stores.tables import Columns, decode, encode, metadata_of

_PER_DIRECTORY = 2000
#: Zip's earliest date: the same content gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_RESIDUAL: dict[str, type[Any]] = {
    "regions": Regions, "edges": Edges, "basins": Basins, "pairs": BasinPairs, "face_basins": FaceBasins,
}  # fmt: skip
#: Columns that rise (or nearly do): stored as differences.
_RISING = frozenset({"u", "region", "block", "basin", "index", "label", "block_b", "label_b"})
_SIDES = b"magneton.sides"


class ResidualStore:
    """The residuals of one stage: of blocks (segment) or of the groups of a level (join).

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
        """The file of a block or group."""
        return self._root / f"{number // _PER_DIRECTORY:04d}" / f"{number}.zip"

    def write_block(self, number: int, residual: Residual, faces: Faces) -> FileInfo:
        """Write what a block leaves open, and its faces; atomically and synced.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error.
        """
        members = _encoded(residual)
        if faces:
            members["faces"] = _encode_faces(faces)
        return self._write(number, members)

    def write_join(self, number: int, residual: Residual, joins: Joins) -> FileInfo:
        """Write what a group leaves open, and which labels it found to be one object.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error.
        """
        members = _encoded(residual)
        if len(joins.block_a):
            members["joins"] = encode(joins._asdict(), rising=_RISING)
        return self._write(number, members)

    def read_residual(self, number: int, info: FileInfo | None = None) -> Residual:
        """What a block or group leaves open.

        Parameters
        ----------
        info
            What the record says of the file; without it any size will do.

        Raises
        ------
        NotVisibleError
            The file isn't there within ``wait_s``.
        CorruptFileError
            It is truncated or damaged.
        OutputError
            The file system failed.
        """
        with self._opened(number, info) as archive:
            return Residual(
                **{name: archive.table(name, table) for name, table in _RESIDUAL.items()}
            )

    def read_joins(self, number: int, info: FileInfo | None = None) -> Joins:
        """Which labels a group found to be one object; errors as `read_residual`."""
        with self._opened(number, info) as archive:
            joins: Joins = archive.table("joins", Joins)
            return joins

    def read_faces(self, number: int, info: FileInfo | None, sides: Iterable[Side]) -> Faces:
        """Some faces of a block; only these are decoded. Errors as `read_residual`."""
        with self._opened(number, info) as archive:
            return archive.faces(list(sides))

    def _write(self, number: int, members: dict[str, memoryview]) -> FileInfo:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(f"{name}.parquet", _DATE), data)
        return files.write_atomic(self.path(number), content.getbuffer())

    def _opened(self, number: int, info: FileInfo | None) -> _Archive:
        path = self.path(number)
        files.await_file(path, info.size if info else None, self._wait_s)
        return _Archive(path)


class _Archive:
    """A file, open for reading; whatever its bytes lead to becomes an error of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = files.open_read(path)
        except FileNotFoundError as error:
            raise NotVisibleError(f"{path} has just gone", "rerun") from error
        try:
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            self._file.close()
            raise self.corrupt(error) from error
        self._names = set(self._zip.namelist())

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def corrupt(self, error: object) -> CorruptFileError:
        return CorruptFileError(
            f"{self.path} is damaged ({error})", "rerun: what it held is computed again"
        )

    def table(self, name: str, table: type[Any]) -> Any:
        """A table, empty where it has no member."""
        data = self._member(name)
        if data is None:
            return empty(table)
        columns = decode(data, self.path)
        return self._typed(columns, table)

    def faces(self, sides: list[Side]) -> Faces:
        data = self._member("faces")
        if data is None:
            raise self.corrupt("it has no faces")
        try:
            listed = json.loads(metadata_of(data, self.path)[_SIDES])
            shapes = {
                (axis, side): (tuple(shape), k) for k, (axis, side, shape) in enumerate(listed)
            }
            chosen = {side: shapes[side] for side in sides}
        except (KeyError, ValueError, TypeError) as error:
            raise self.corrupt(f"its faces aren't those of this grid: {error}") from error
        found: Faces = {}
        for side, (shape, group) in chosen.items():
            columns = decode(data, self.path, groups=[group])
            try:
                planes = {name: column.reshape(shape) for name, column in columns.items()}
            except ValueError as error:
                raise self.corrupt(error) from error
            affinity = planes["affinity"] if side[1] == 0 else None
            found[side] = Face(planes["basins"], planes["picks"], affinity)
        return found

    def _member(self, name: str) -> bytes | None:
        member = f"{name}.parquet"
        if member not in self._names:
            return None
        try:
            return self._zip.read(member)
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
            raise self.corrupt(error) from error

    def _typed(self, columns: Columns, table: type[Any]) -> Any:
        fields = table._fields  # type: ignore[attr-defined]
        if set(columns) != set(fields):
            raise self.corrupt(f"it has the columns {sorted(columns)}")
        typed = zip(fields, DTYPES[table], strict=True)
        return table(*(columns[name].astype(dtype, copy=False) for name, dtype in typed))


def _encoded(residual: Residual) -> dict[str, memoryview]:
    tables = {name: getattr(residual, name) for name in _RESIDUAL}
    return {
        name: encode(table._asdict(), rising=_RISING)
        for name, table in tables.items()
        if len(table[0])
    }


def _encode_faces(faces: Faces) -> memoryview:
    """All faces as one table: a row group each, in the order of the sides."""
    sides = sorted(faces)
    listed = [(axis, side, list(faces[axis, side].basins.shape)) for axis, side in sides]

    def planes(side: Side) -> Columns:
        face = faces[side]
        affinity = face.affinity
        if affinity is None:
            affinity = np.zeros(face.basins.shape, np.uint8)
        return {
            "basins": face.basins.reshape(-1), "picks": face.picks.reshape(-1),
            "affinity": affinity.reshape(-1),
        }  # fmt: skip

    metadata = {_SIDES: json.dumps(listed).encode()}
    return encode([planes(side) for side in sides], metadata=metadata)
