"""docs/python.md as a reader types it: its blocks of Python are executed, top to bottom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.formats.volume import open_volume
from magneton_tasks.sample import write_sample
from magneton_tasks.sample.volume import MIN_SHAPE
from tests.helpers.shell_blocks import ROOT, blocks

pytestmark = pytest.mark.e2e


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page takes for granted: affinities in a file, and a volume with its config and truth."""
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "demo", MIN_SHAPE, 0)
    volume = open_volume(f"file://{tmp_path}/demo/affinity")
    np.save("affinities.npy", volume.read(volume.info.box))
    return tmp_path


@pytest.mark.usefixtures("warm")
def test_the_page_works_as_shown(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = [b for b in blocks(ROOT / "docs" / "python.md") if b.language == "python"]
    assert len(shown) == 5
    names: dict[str, object] = {}
    for block in shown:
        first = block.lines[0][0] if block.lines else 1
        code = "\n" * (first - 1) + block.text
        exec(compile(code, str(block.page), "exec"), names)
    told = capsys.readouterr().out
    for said in ("objects in", "the map asks for 0.", "nan at voxel (0, 0, 0)", "True 0.3", "bits"):
        assert said in told
    assert "verified      complete" in told  # what `magneton run` prints
    assert (demo / "demo" / "segmentation" / "info").is_file()
