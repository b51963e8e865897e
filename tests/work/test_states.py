"""What became of each block, from records written by hand."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import BlockState, VolumeStates
from magneton_tasks.work.validity import (
    OTHER_INPUT,
    OTHER_LABELS,
    OTHER_PAIRS,
    OTHER_POOL,
    OTHER_SETTINGS,
)
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many
from tests.helpers.records_by_hand import N_BLOCKS as N
from tests.helpers.records_by_hand import add, counted, segmented, written


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    run = plan_many(tmp_path, (2, 2, 2))
    volumes.release(run)
    return run.attempt


@pytest.fixture
def row(tmp_path: Path) -> Attempt:
    """Of eight blocks side by side."""
    run = plan_many(tmp_path, (1, 1, N))
    volumes.release(run)
    return run.attempt


def states(attempt: Attempt, stage: str, *, alive: bool = True) -> dict[int, BlockState]:
    return {s.key: s.parsed() for s in VolumeStates(attempt, alive=alive).judged(stage)}


def kinds(attempt: Attempt, stage: str, *, alive: bool = True) -> list[str]:
    found = states(attempt, stage, alive=alive)
    assert list(found) == list(range(len(found)))  # all of them, ascending
    return [s.kind for s in found.values()]


def test_each_kind(attempt: Attempt) -> None:
    source = attempt.plan.input_digest
    add(attempt, "segment", 0, "done", input=source, output="o", info={"n": 1})
    add(attempt, "segment", 1, "empty", input=source, output="empty", info={"n": 0})
    add(attempt, "segment", 2, "started")
    add(attempt, "segment", 3, "failed", info={"cause": "it broke"})
    add(attempt, "segment", 4, "done", input="another", output="o")
    add(attempt, "segment", 5, "done", input=source, output="o")
    add(attempt, "segment", 5, "invalid", info={"cause": "damaged"})
    add(attempt, "segment", 6, "started", attempt=attempt.plan.attempt + 1)  # not this attempt
    expected = ["done", "empty", "running", "failed", "stale", "missing", "missing", "missing"]
    assert kinds(attempt, "segment") == expected
    found = states(attempt, "segment")
    assert [found[k].record is None for k in range(N)] == [False] * 7 + [True]
    assert found[3].record is not None and found[3].record.info["cause"] == "it broke"
    assert found[4].why == OTHER_INPUT
    assert found[4].record is not None and found[4].record.state == "done"


def test_what_a_dead_run_had_begun_is_missing(attempt: Attempt) -> None:
    add(attempt, "segment", 2, "started")
    assert kinds(attempt, "segment", alive=False) == ["missing"] * N


def test_a_result_outlives_a_later_try(attempt: Attempt) -> None:
    segmented(attempt, [0, 1])
    add(attempt, "segment", 0, "started")
    add(attempt, "segment", 1, "failed")
    assert kinds(attempt, "segment")[:2] == ["done", "done"]


def test_a_stale_block_that_is_done_again_runs_or_fails(attempt: Attempt) -> None:
    for key, state in enumerate(("started", "failed", "invalid")):
        add(attempt, "segment", key, "done", input="another", output="o")
        add(attempt, "segment", key, state)
    assert kinds(attempt, "segment")[:3] == ["running", "failed", "missing"]
    assert kinds(attempt, "segment", alive=False)[:3] == ["stale", "failed", "missing"]


def test_a_finished_volume(attempt: Attempt) -> None:
    written(attempt)
    for stage in ("segment", "count", "pool", "apply"):
        assert set(kinds(attempt, stage)) == {"done"}, stage


def test_other_labels_make_the_counts_of_the_block_and_what_follows_stale(row: Attempt) -> None:
    written(row)
    values = {"input": row.plan.input_digest, "output": "others", "info": {"n": 4}}
    add(row, "segment", 5, "done", **values)
    assert kinds(row, "segment") == ["done"] * N
    # counted are a block's pairs with the next one
    assert kinds(row, "count") == [*["done"] * 4, "stale", "stale", "done", "done"]
    assert states(row, "count")[4].why == OTHER_LABELS
    assert states(row, "pool")[0].why == OTHER_PAIRS
    assert {s.why for s in states(row, "apply").values()} == {OTHER_POOL}


def test_an_output_stays_done_where_the_same_pool_is_only_made_again(attempt: Attempt) -> None:
    pool = written(attempt)
    add(attempt, "pool", 0, "invalid")
    assert kinds(attempt, "pool") == ["missing"]
    assert set(kinds(attempt, "apply")) == {"done"}
    # another pool: not
    add(attempt, "apply", 0, "done", info={"pool": "0" * len(pool), "chunks": []})
    assert kinds(attempt, "apply") == ["stale"]


def test_a_restarted_run_accepts_only_its_own(attempt: Attempt) -> None:
    segmented(attempt, [0, 1, 2])
    add(attempt, "segment", 1, "started")
    again = replace(attempt, plan=replace(attempt.plan, restart=True, attempt=2))
    add(again, "segment", 2, "done", input=attempt.plan.input_digest, output="o", info={"n": 1})
    assert kinds(again, "segment")[:4] == ["missing", "missing", "done", "missing"]
    add(again, "segment", 1, "started")
    assert kinds(again, "segment")[1] == "running"


def test_another_look_finds_what_was_added(attempt: Attempt) -> None:
    segmented(attempt, [0])
    looked = VolumeStates(attempt, alive=True)
    assert Counter(each.kind for each in looked.judged("segment")) == {"done": 1, "missing": 7}
    segmented(attempt, range(1, N))
    counted(attempt)
    looked.refresh(alive=True)
    for stage in ("segment", "count"):
        assert {each.kind for each in looked.judged(stage)} == {"done"}


def test_results_of_other_settings_are_stale(attempt: Attempt) -> None:
    """Block by block where the grid is the same."""
    segmented(attempt, [0, 5])
    prints = replace(attempt.plan.fingerprints, segment="f" * 16)
    now = replace(attempt, plan=replace(attempt.plan, fingerprints=prints))
    add(now, "segment", 1, "done", input=attempt.plan.input_digest, output="o")
    judged = list(VolumeStates(now, alive=False, older=[attempt.plan]).judged("segment"))
    kinds = ["stale", "done", "missing", "missing", "missing", "stale", "missing", "missing"]
    assert [each.kind for each in judged] == kinds
    assert judged[0].why == OTHER_SETTINGS


def test_a_block_of_another_grid_is_stale_where_all_old_ones_that_it_meets_had_a_result(
    attempt: Attempt,
) -> None:
    """Cores along x: old 0-12-24, new 0-8-16-24."""
    old = attempt.plan.geometry
    z, y, _ = old.grid.cuts
    grid = replace(old.grid, cuts=((z[0], z[-1]), (y[0], y[-1]), (0, 8, 16, 24)))
    geometry: Geometry = replace(old, grid=grid)
    prints = replace(attempt.plan.fingerprints, segment="f" * 16)
    now = replace(attempt, plan=replace(attempt.plan, fingerprints=prints, geometry=geometry))
    segmented(attempt, [0, 2, 4, 6])  # the left half
    judged = VolumeStates(now, alive=False, older=[attempt.plan]).judged("segment")
    assert [each.kind for each in judged] == ["stale", "missing", "missing"]


def test_digests_are_found_without_parsing(attempt: Attempt) -> None:
    odd = Record(
        3,
        "done",
        1.0,
        run='a"input":"x","output":"y"',
        input="in",
        output="out",
        info={"log": '"input":"z"'},
    )
    for record in (odd, replace(odd, output=None), replace(odd, input=None, output=None)):
        state = KeyState(record.to_line(), 1.0, 3)
        expected = (record.input, record.output) if record.input else (None, None)
        assert state.digests == expected
    invalid = KeyState(replace(odd, state="invalid").to_line(), 1.0, 4)
    assert invalid.digests == (None, None)


def test_states_are_there_without_heavy_imports() -> None:
    """Airflow's web server looks through them."""
    code = (
        "import sys, magneton_tasks.work.states, magneton_tasks.outcome.current\n"
        "heavy = {'numpy', 'zarr', 'pyarrow', 'cloudvolume', 'numba', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
