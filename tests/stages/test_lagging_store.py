"""A shared file system that shows new files a minute late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from magneton_tasks.work.stores import label_store
from tests.helpers import volumes
from tests.helpers.lagging import fake_clock, hide_new_files
from tests.helpers.volumes import Array, Run

Copy = Callable[..., Path]
WAIT = {"paths.visibility_wait_s": 120}


def test_a_run_succeeds_where_files_show_up_a_minute_late(
    copy_of: Copy, expected: list[Array]
) -> None:
    config = copy_of(settings=WAIT)
    with hide_new_files(60, config.parent) as disk:
        run = volumes.run_pipeline(config)
        assert disk.hidden_asks > 20
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def test_a_file_that_never_shows_up_is_waited_for_then_named_and_made_again(
    copy_of: Copy, expected: list[Array]
) -> None:
    config = copy_of(work=True, settings=WAIT)
    run = volumes.plan_run(config)
    path = label_store(run.attempt).shard_path(run.plan.geometry.grid.index3(6))
    path.unlink()
    with fake_clock() as clock:
        volumes.run_stages(run)
    assert run.codes["apply"] == [75]
    assert 120 <= sum(clock.slept) < 130  # once a batch, not once a cell
    failure = run.result("apply", 0)["failures"][0]
    assert str(path) in failure["cause"]
    assert "did not show up within 2 min" in failure["cause"]
    assert run.last("segment")[6].state == "invalid"
    again = volumes.run_pipeline(config)
    assert again.made("segment") == {6}
    assert np.array_equal(volumes.read_segmentation(again), expected[0])


def test_a_stage_before_the_one_it_needs_waits_once_then_says_so(copy_of: Copy) -> None:
    run = volumes.plan_run(copy_of(settings=WAIT))
    with fake_clock() as clock:
        volumes.run_stages(run, stages=["count"])
    assert run.codes["count"] == [75]
    assert sum(clock.slept) < 240  # not once a block
    cause = run.result("count", 0)["failures"][0]["cause"]
    assert "segment isn't complete: 8 of 8 blocks without a valid record" in cause


def test_what_is_there_isn_t_waited_for(finished: Run) -> None:
    with fake_clock() as clock:
        volumes.run_pipeline(Path(finished.plan.config_path), WAIT)
    assert clock.slept == []
