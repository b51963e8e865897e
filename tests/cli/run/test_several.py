"""``magneton run --thresholds``: a result at each, of which one that fails stops no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.cli.run import here, several
from magneton_tasks.cli.run.place import EXIT_STOPPED
from magneton_tasks.cli.view import viewing
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import BadDataError, ConfigError, UsageError
from magneton_tasks.viewer.of_config import view_of
from tests.helpers import volumes
from tests.helpers.warm import Template, started_warm

Calls = list[dict[str, Any]]
OUTPUT = "file:///data/at-{threshold}"


def written(folder: Path, output: str = OUTPUT) -> Path:
    settings = {"method": "exact", "pool": {}, "segment": {}, "block": {"size": [16, 12, 20]}}
    return volumes.write_config(folder, settings, output=output)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What each run was asked for; that at .3 fails with 75, and that at .5 is refused."""
    found: Calls = []

    def run(config: Path, **options: Any) -> int:
        found.append(options)
        threshold = options["sets"]["segment.threshold"]
        if threshold == 0.5:
            raise BadDataError("a chunk is damaged", "mend it")
        return {0.3: 75, 0.6: EXIT_STOPPED}.get(threshold, 0)

    monkeypatch.setattr(here, "run", run)
    return found


def thresholds_of(calls: Calls) -> list[float]:
    return [call["sets"]["segment.threshold"] for call in calls]


def test_the_lowest_comes_first_and_one_that_fails_stops_no_other(
    tmp_path: Path, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path)
    code = several.run(config, (0.5, 0.3, 0.25, 0.55), sets={"box": None}, yes=True, dry_run=False)
    assert thresholds_of(calls) == [0.25, 0.3, 0.5, 0.55]
    assert all(call["sets"]["box"] is None and call["yes"] for call in calls)
    assert code == 75  # what a retry mends
    told = capsys.readouterr()
    assert "threshold 0.25 (1 of 4): file:///data/at-0.25" in told.out
    assert "a chunk is damaged" in told.err
    assert "failed at 0.3, 0.5; the others are complete" in told.err


def test_all_of_them_done_is_done(tmp_path: Path, calls: Calls) -> None:
    assert several.run(written(tmp_path), (0.1, 0.2), sets={}) == 0


def test_whoever_stops_one_stops_all(tmp_path: Path, calls: Calls) -> None:
    assert several.run(written(tmp_path), (0.6, 0.7), sets={}) == EXIT_STOPPED
    assert thresholds_of(calls) == [0.6]


def test_what_does_not_go_together_is_refused(tmp_path: Path, calls: Calls) -> None:
    config = written(tmp_path)
    with pytest.raises(UsageError, match="contradict"):
        several.run(config, (0.1, 0.2), sets={"segment.threshold": 0.3})
    for name in ("restart", "detach"):
        with pytest.raises(UsageError, match=f"--{name}"):
            several.run(config, (0.1, 0.2), sets={}, **{name: True})
    with pytest.raises(ConfigError, match="write over each other"):
        several.run(written(tmp_path, "file:///data/seg"), (0.1, 0.2), sets={})
    assert not calls


def magneton(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "magneton_tasks", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", ["high", ".3,.3", "2"])
def test_what_is_no_list_of_thresholds_is_a_wrong_use(tmp_path: Path, text: str) -> None:
    done = magneton("run", written(tmp_path), "--thresholds", text)
    assert done.returncode == 64
    assert "threshold" in done.stderr


@pytest.mark.usefixtures("warm")
def test_two_results_of_one_command(tmp_path: Path, template: Template | None) -> None:
    shape = (16, 24, 20)
    array = volumes.affinities(volumes.cells(shape, 20, 3), noise=0.4)
    volumes.write_precomputed(tmp_path / "affinity", array)
    config = written(tmp_path, f"file://{tmp_path}/at-{{threshold}}")
    with started_warm(template):
        done = magneton("run", config, "--thresholds", ".6,0.3")
    assert done.returncode == 0, done.stdout + done.stderr
    low, high = (volumes.read_segmentation(f"file://{tmp_path}/at-{t}") for t in ("0.3", "0.6"))
    assert len(np.unique(low)) <= len(np.unique(high))
    assert len(list((tmp_path / "work").glob("segment-*"))) == 1
    view = view_of(load_config(config), None)
    assert [layer.name for layer in view.layers] == [
        "affinity",
        "segmentation 0.3",
        "segmentation 0.6",
    ]
    assert view.side_by_side
    head, *rows = viewing.objects_at(load_config(config), view.thresholds)
    assert head.split()[:2] == ["threshold", "objects"]
    assert [row.split()[:2] for row in rows] == [
        [text, f"{len(np.unique(labels[labels > 0]))}"]
        for text, labels in (("0.3", low), ("0.6", high))
    ]
