"""The notebook of docs/examples runs, top to bottom."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from tests.helpers.shell_blocks import ROOT

matplotlib.use("Agg")


def test_the_notebook_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copy(ROOT / "docs" / "examples" / "notebook.py", tmp_path)
    found = runpy.run_path(str(copy))
    counts = found["objects"]
    assert counts == sorted(counts) and counts[0] < 40 < counts[-1]
    assert 20 < found["labels"].max() < 80
    assert "supervoxels" in capsys.readouterr().out
    plt.close(found["figure"])
