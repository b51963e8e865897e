"""Affinity maps in buckets, in the formats that are read there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.volume import open_volume
from tests.buckets.conftest import Store
from tests.formats.test_n5 import written as write_n5

ARRAY = np.arange(3 * 6 * 7 * 8, dtype=np.uint16).reshape(3, 6, 7, 8)
INNER = Box((1, 2, 3), (6, 6, 6))


def arrays(folder: Path) -> None:
    """One array of each kind of file."""
    common: dict[str, Any] = {"data": ARRAY, "chunks": (1, 4, 4, 4)}
    zarr.create_array(str(folder / "zarr2"), zarr_format=2, **common)
    zarr.create_array(str(folder / "zarr3"), **common)
    zarr.create_array(str(folder / "sharded"), shards=(3, 4, 4, 4), **common)
    write_n5(folder / "n5", ARRAY, (3, 4, 4, 4))


def test_each_format_is_read(store: Store, tmp_path: Path) -> None:
    arrays(tmp_path)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            store.put(str(file.relative_to(tmp_path)), file.read_bytes())
    for name in ("zarr2", "zarr3", "sharded", "n5"):
        volume = open_volume(f"{store.url}/{name}")
        found = volume.read(INNER)
        np.testing.assert_array_equal(found, ARRAY[(slice(None), *INNER.slices())], err_msg=name)


def test_a_part_that_was_never_written_is_empty(store: Store, tmp_path: Path) -> None:
    arrays(tmp_path)
    for name in ("zarr3/zarr.json", "n5/attributes.json"):
        store.put(name, (tmp_path / name).read_bytes())
        volume = open_volume(f"{store.url}/{name.partition('/')[0]}")
        assert not volume.read(INNER).any()
