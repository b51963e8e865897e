"""Block maps between two looks: read by a thread of their own, and no answer waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.airflow.pages import keeper as keeping
from magneton_tasks.airflow.pages.keeper import Keeper
from magneton_tasks.errors import OutputError
from magneton_tasks.outcome.block_map import BlockMap
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many
from tests.helpers.records_by_hand import add

GRID = (1, 2, 3)


@pytest.fixture
def run(tmp_path: Path) -> volumes.Run:
    return plan_many(tmp_path, GRID)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_SHORTEST_S", 0.0)
    monkeypatch.setattr(keeping, "_PAUSES", 0.0)
    monkeypatch.setattr(keeping, "_PATIENCE_S", 20.0)


def test_each_look_tells_what_was_added(run: volumes.Run) -> None:
    keeper, root = Keeper(), run.attempt.paths.root
    found, problem = keeper.look(root)
    assert found is not None
    assert problem is None
    assert found.summary["stages"][0]["queued"] == 6
    add(run.attempt, "segment", 0, "started")
    again, _ = keeper.look(root)
    assert again is found
    assert found.summary["stages"][0]["running"] == 1


def test_a_slow_look_holds_up_no_answer(run: volumes.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_PATIENCE_S", 0.01)
    go_on, refresh = threading.Event(), BlockMap.refresh

    def slow(block_map: BlockMap) -> None:
        assert go_on.wait(30)
        refresh(block_map)

    monkeypatch.setattr(BlockMap, "refresh", slow)
    keeper, root = Keeper(), run.attempt.paths.root
    assert keeper.look(root) == (None, None), "still being read"
    go_on.set()
    deadline = time.monotonic() + 30
    while (found := keeper.look(root)[0]) is None:
        assert time.monotonic() < deadline
    go_on.clear()
    add(run.attempt, "segment", 0, "started")
    assert keeper.look(root) == (found, None), "what was found before"
    assert found.summary["stages"][0]["running"] == 0
    go_on.set()


def test_what_goes_wrong_is_told_and_tried_again(
    run: volumes.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> None:
        raise OutputError("the disk is gone", "bring it back")

    keeper, root = Keeper(), run.attempt.paths.root
    with monkeypatch.context() as patch:
        patch.setattr(BlockMap, "refresh", broken)
        found, problem = keeper.look(root)
        assert found is None
        assert problem is not None
        assert "the disk is gone" in problem
    found, problem = keeper.look(root)
    assert found is not None
    assert problem is None


def test_maps_that_nobody_asks_for_are_dropped(
    run: volumes.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, root = Keeper(), run.attempt.paths.root
    first, _ = keeper.look(root)
    monkeypatch.setattr(keeping, "_KEPT", 1)
    other = plan_many(tmp_path / "other", GRID)
    keeper.look(other.attempt.paths.root)
    again, _ = keeper.look(root)
    assert again is not first
    volumes.release(other)
