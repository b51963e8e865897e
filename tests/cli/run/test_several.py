"""``magneton run --thresholds``: one run, and what status and view show of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.cli.view import viewing
from magneton_tasks.config.read import load_config
from magneton_tasks.viewer.of_config import view_of
from tests.helpers import volumes
from tests.helpers.warm import Template, started_warm

OUTPUT = "file:///data/at-{threshold}"


def written(folder: Path, output: str = OUTPUT) -> Path:
    settings = {"method": "exact", "pool": {}, "segment": {}, "block": {"size": [16, 12, 20]}}
    return volumes.write_config(folder, settings, output=output)


def magneton(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "magneton_tasks", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", ["high", ".3,.3", "2"])
def test_what_is_no_list_of_thresholds_is_a_wrong_use(tmp_path: Path, text: str) -> None:
    done = magneton("run", written(tmp_path), "--thresholds", text)
    assert done.returncode == 64
    assert "threshold" in done.stderr


def rows(told: str) -> dict[str, list[str]]:
    """The lines of a table by their first word."""
    found: dict[str, list[str]] = {}
    for line in told.splitlines():
        words = line.split()
        if words:
            found.setdefault(words[0], []).append(line)
    return found


@pytest.mark.usefixtures("warm")
def test_three_results_of_one_run(tmp_path: Path, template: Template | None) -> None:
    shape = (16, 24, 20)
    array = volumes.affinities(volumes.cells(shape, 20, 3), noise=0.4)
    volumes.write_precomputed(tmp_path / "affinity", array)
    config = written(tmp_path, f"file://{tmp_path}/at-{{threshold}}")
    names = ["0.3", "0.45", "0.6"]
    with started_warm(template):
        done = magneton("run", config, "--thresholds", ".6,0.3,.45")
        status = magneton("status", config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "threshold 0.3, 0.45, 0.6, set for this run, an output each" in done.stdout
    assert len(list((tmp_path / "work" / "runs").iterdir())) == 1
    assert len(list((tmp_path / "work").glob("segment-*"))) == 1

    told = rows(status.stdout)
    assert len(told["segment"]) == len(told["round0"]) == 1
    assert [line.split()[:3] for line in told["apply"]] == [["apply", n, "1"] for n in names]
    assert [line.split()[:3] for line in told["verify"]] == [["verify", n, "1"] for n in names]
    assert "stale:" not in status.stdout and "changed" not in status.stdout

    view = view_of(load_config(config), None)
    layers = [f"segmentation {name}" for name in names]
    assert [layer.name for layer in view.layers] == ["affinity", *layers]
    assert view.side_by_side
    head, *table = viewing.objects_at(load_config(config), view.thresholds)
    assert head.split()[:2] == ["threshold", "objects"]
    found = {n: volumes.read_segmentation(f"file://{tmp_path}/at-{n}") for n in names}
    assert [row.split()[:2] for row in table] == [
        [name, f"{len(np.unique(labels[labels > 0]))}"] for name, labels in found.items()
    ]
