"""A region with more neighbours than any worker may hold is refused, with its size and place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.config.local import Local
from magneton_tasks.errors import EXIT_CONFIG, ConfigError
from magneton_tasks.plan import cost_exact
from magneton_tasks.stages.planning import group_work
from tests.helpers import volumes
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("childless")

SHAPE = (8, 40, 40)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A sheet that crosses all blocks between many small cells: four groups, two rounds; round 0 is done."""
    labels = np.zeros(SHAPE, np.uint32)
    tiles = np.arange(40) // 4
    labels[:] = 2 + tiles[:, None] * 10 + tiles[None, :]
    labels[4:] += 100
    labels[3:5] = 1
    affinity = np.maximum(volumes.affinities(labels, noise=0), 60).astype(np.uint8)
    volumes.write_precomputed(tmp_path / "affinity", affinity)
    settings = {
        "method": "exact", "segment": {"threshold": 0.5}, "pool": {}, "block": {"size": [8, 20, 20]},
        "exact": {"s2": 0, "dust": 0, "advanced": {"s_min": 0, "t_high": 256}},
    }  # fmt: skip
    monkeypatch.setattr(group_work, "budget_of", lambda *_: 1)
    found = volumes.plan_run(volumes.write_config(tmp_path, settings))
    volumes.run_stages(found, stages=["segment", "faces", "round0"])
    assert found.code == 0
    return found


def test_a_hub_is_refused_before_it_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hubs = {tuple(record.info["hub"]) for record in run.records("round0").values()}
    edges, voxels, block = max(hubs)
    assert edges > 20
    assert voxels >= 2 * 20 * 20
    names = max(record.info["n"] for record in run.records("round0").values())
    need = cost_exact.round_bytes(edges, names)
    monkeypatch.setattr(Local, "largest_memory", property(lambda _: need - 1))
    with pytest.raises(ConfigError) as caught:
        group_work.prepare(run.attempt, "round1")
    text = str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIG
    assert f"a region of {voxels:,} voxels around block {block}" in text
    assert f"touches {edges:,} others" in text
    assert "mask.path" in text
    assert "exact.advanced.t_high" in text
    monkeypatch.setattr(Local, "largest_memory", property(lambda _: need))
    assert group_work.prepare(run.attempt, "round1").batches


def test_nothing_else_is_refused(run: Run) -> None:
    assert volumes.run_stages(run).code == 0
