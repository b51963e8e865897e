"""Another format is an entry of the table and a folder: nothing else knows what it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.base.location import Location, read_json
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats import metadata, registry
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.metadata import chunk_identity, read_metadata
from magneton_tasks.formats.registry import Format
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.viewer import drawable

SHAPE = (4, 5, 6)


def read(url: str, location: Location, mip: int, given: Given | None) -> VolumeInfo | None:
    """A volume in one file of numpy's, beside a ``whole.json``."""
    if read_json(location, "whole.json") is None:
        return None
    box = Box.of_shape(SHAPE)
    return VolumeInfo(
        url, "whole", mip, "uint8", 3, box, (8.0, 8.0, 8.0), SHAPE, "npy", "d", "", file_size=SHAPE
    )


def chunk_names(info: VolumeInfo, index: Vec3) -> Iterator[str]:
    """The one file."""
    assert (info.format, index) == ("whole", (0, 0, 0))
    yield "all.npy"


def open_whole(info: VolumeInfo, fill_missing: bool) -> SimpleNamespace:
    """As a format's ``read.py`` does."""
    array: npt.NDArray[np.uint8] = np.load(f"{info.url}/all.npy")
    return SimpleNamespace(info=info, read=lambda box: array[(slice(None), *box.slices())])


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    formats = (*registry.FORMATS, Format("whole", ("whole",), read, chunk_names))
    for module in (registry, metadata):
        monkeypatch.setattr(module, "FORMATS", formats)
    reader = ModuleType("magneton_tasks.formats.whole.read")
    vars(reader)["open_volume"] = open_whole
    monkeypatch.setitem(sys.modules, reader.__name__, reader)
    (tmp_path / "whole.json").write_text("{}")
    np.save(tmp_path / "all.npy", np.arange(360, dtype=np.uint8).reshape(3, *SHAPE))
    return tmp_path


def test_it_is_recognised_and_read(volume: Path) -> None:
    assert read_metadata(str(volume)).format == "whole"
    found = open_volume(str(volume)).read(Box((1, 2, 3), (2, 3, 4)))
    assert found.reshape(-1).tolist() == [45, 165, 285 - 256]


def test_its_files_tell_that_a_chunk_has_changed(volume: Path) -> None:
    box = Box.of_shape(SHAPE)
    before = chunk_identity(str(volume), 0, box)
    assert chunk_identity(str(volume), 0, box) == before
    (volume / "all.npy").write_bytes(b"other")
    assert chunk_identity(str(volume), 0, box) != before


def test_neuroglancer_refuses_what_nobody_taught_it(volume: Path) -> None:
    with pytest.raises(ConfigError, match="Neuroglancer draws no whole"):
        drawable.check(read_metadata(str(volume)), "image")
