"""docs/own-volume.md, as a reader types it who has an affinity map in a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import zarr

from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.sample import write_sample
from magneton_tasks.sample.volume import MIN_SHAPE
from tests.e2e.newcomer import Newcomer
from tests.helpers.shell_blocks import ROOT, commands, shown_to
from tests.helpers.volumes import read_segmentation

PAGE = ROOT / "docs" / "own-volume.md"


class Reader(Newcomer):
    """Somebody in whose environment Magneton is installed; types in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.project = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environ = {
            **os.environ,
            "PATH": path,
            "HOME": str(folder),
            "TERM": "xterm",
            "PS1": "newcomer $?> ",
        }
        self.typed = []
        self._shown: Any = (folder / "terminal.txt").open("w")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shell.close(force=True)
        self._shown.close()


def given(folder: Path) -> None:
    """What the page takes for granted: a map in HDF5 with attributes, and one without any."""
    write_sample(folder / "sample", MIN_SHAPE, 0)
    volume = open_volume(f"file://{folder}/sample/affinity")
    array = volume.read(volume.info.box)
    with h5py.File(folder / "affinities.h5", "w") as file:
        made = file.create_dataset("volumes/affs", data=array, chunks=(3, 32, 32, 32))
        made.attrs["resolution"], made.attrs["offset"] = [40, 16, 16], [80, 0, 160]
    zarr.create_array(str(folder / "plain.zarr"), data=array, chunks=(3, 32, 32, 32))


def test_the_page_as_it_is_typed(tmp_path: Path) -> None:
    given(tmp_path)
    shown = shown_to(__file__, "own-volume.md")
    typed = commands(PAGE)
    assert sum(len(block.lines) for block in shown) == len(typed) == 7
    first = [command.command for command in typed if command.number <= shown[0].lines[-1][0]]
    assert len(first) == 4, "from a file to a layer in at most four commands"
    with Reader(tmp_path) as reader:
        said = [reader.types(command) for command in typed]
    assert "verified      complete" in said[2]
    assert said[-1].startswith("plain.yaml: ok")
    made = read_metadata(f"file://{tmp_path}/affinities-segmentation")
    assert (made.voxel_size_nm, made.box.begin) == ((40, 16, 16), (2, 0, 10))
    assert len(set(read_segmentation(made.url).ravel().tolist())) > 10
    config = json.dumps((tmp_path / "plain.yaml").read_text())
    assert "voxel_size_nm: [40, 8, 8]" in config
