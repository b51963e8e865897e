"""What a run leaves in the work directory: few files, whatever had been tried before it was done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.outcome import block_detail
from magneton_tasks.work import results
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.file_limits import assert_few_files, by_kind

#: 2 x 2 x 2 blocks
METHODS: dict[str, dict[str, Any]] = {
    "exact": {"method": "exact", "block": {"size": [20, 32, 32]}, "segment": {"threshold": 0.5}},
    "overlap": {},
}


@pytest.fixture(params=list(METHODS))
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return volumes.make_volume(tmp_path, settings=METHODS[request.param])


@pytest.mark.usefixtures("warm")
def test_a_run_of_processes(config: Path) -> None:
    command = [sys.executable, "-m", "magneton_tasks", "run", str(config)]
    subprocess.run(command, check=True, capture_output=True, timeout=400)
    assert_few_files(config.parent / "work")


def test_a_run_that_failed_and_was_done_again_in_many_parts(config: Path) -> None:
    (chunk,) = (config.parent / "affinity").glob("*/*-332_-16-16_7-23*")
    content = chunk.read_bytes()
    failed = volumes.plan_run(config, run="failed")
    chunk.write_bytes(content[:100])
    volumes.release(volumes.run_stages(failed, parts=8))
    assert failed.code == 65
    blocks = [k for k, record in failed.last("segment").items() if record.state == "failed"]
    assert blocks
    for key in blocks:  # here its child says nothing: the test keeps what is printed
        failed.attempt.paths.block_log("segment", key).write_text(f"why {key} failed\n")
    chunk.write_bytes(content)
    run = volumes.run_pipeline(config, run="mended", parts=8)
    assert_few_files(config.parent / "work", parts=8)
    for key in blocks:
        assert block_detail.log_tail(run.attempt, "segment", key) == f"why {key} failed\n"
        tries = block_detail.detail(run.attempt, "segment", key)["tries"]
        assert [t["state"] for t in tries if t["state"] != "started"] == ["failed", "done"]


def test_a_volume_that_was_begun_in_parts_is_finished_and_known_as_such(
    config: Path, cli: Caller
) -> None:
    run = volumes.run_pipeline(config, parts=3)
    before = by_kind(config.parent / "work")
    data = cli("status", config, "--json", "--missing").json
    assert data["missing"] == [] and data["stages"][0]["done"] == 8
    assert set(results.gathered(run.attempt.paths)) >= {"segment-0000-0002", "pool"}
    assert volumes.run_pipeline(config, run="idle").plan.nothing_to_do
    kept = by_kind(config.parent / "work")
    assert {k: n for k, n in kept.items() if "records" in k} == {
        k: n for k, n in before.items() if "records" in k
    }
