"""docs/after.md as it is typed: a layer is checked, given to igneous, and checked again."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.shell_blocks import ROOT, blocks, shown_to, typed

pytestmark = pytest.mark.e2e
PAGE = ROOT / "docs" / "after.md"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder, and what was said; igneous is a program in an environment of its own there."""
    folder = tmp_path_factory.mktemp("after")
    environ = {
        **os.environ,
        # Python is that of these tests; `magneton` is found behind what the page puts before it
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{sys.base_prefix}/bin{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
        "NO_COLOR": "1",
    }
    yield folder, typed(shown_to(__file__), folder, environ)
    shutil.rmtree(folder, ignore_errors=True)  # 1 GB, which pytest would keep


def info_in(folder: Path, *names: str) -> Any:
    return json.loads(folder.joinpath(*names, "info").read_text())


def test_igneous_makes_what_the_check_finds_right(done: tuple[Path, str]) -> None:
    folder, said = done
    assert said.count("nothing is wrong") == 2
    info = info_in(folder, "other")
    assert info_in(folder, "other", info["mesh"])["@type"] == "neuroglancer_multilod_draco"
    assert info_in(folder, "other", info["skeletons"])["mip"] == 1
    assert all("sharding" in scale for scale in info["scales"])


def test_the_dataset_of_webknossos_is_that_of_the_output(done: tuple[Path, str]) -> None:
    scales = info_in(done[0], "demo", "segmentation")["scales"]
    (given,) = (json.loads(block.text) for block in blocks(PAGE) if block.language == "json")
    (layer,) = given["dataLayers"]
    voxel, box = given["scale"]["factor"], layer["boundingBox"]
    assert voxel == scales[0]["resolution"]
    assert box["topLeft"] == scales[0]["voxel_offset"]
    assert [box["width"], box["height"], box["depth"]] == scales[0]["size"]
    assert [mag["path"] for mag in layer["mags"]] == [f"./segmentation/{s['key']}" for s in scales]
    mags = [[r / v for r, v in zip(s["resolution"], voxel, strict=True)] for s in scales]
    assert [mag["mag"] for mag in layer["mags"]] == mags
