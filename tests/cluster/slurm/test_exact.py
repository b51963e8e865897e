"""The exact method on a real cluster: rounds are arrays like other stages, and nothing of the cut shows."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.cluster.slurm.cluster import Place, finish, only_slurm, wait_for
from tests.cluster.slurm.conftest import is_right, voxels
from tests.helpers import side_by_side
from tests.helpers.file_limits import assert_few_files
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import run_pipeline


def test_rounds_go_on_after_a_kill_between_two_and_the_result_is_identical(
    place: Place, tmp_path: Path
) -> None:
    run_pipeline(write_tiny_volume(tmp_path, method="exact"))
    expected = [voxels(tmp_path / "segmentation", mip) for mip in (0, 1)]

    # Beside what a process takes anyway no row fits into a job: each block is a group.
    hold = f'case "$SLURM_JOB_NAME" in magneton-round1-*) while [ -e {place.hold} ]; do sleep 0.2; done ;; esac'
    few = {"memory": "300MiB", "max_memory": "2GiB", "max_running": 3, "prelude": [hold]}
    config = place.volume(few, method="exact")
    place.hold.touch()
    first = place.start("run", str(config), "--runner", "slurm")
    wait_for(lambda: place.in_state("RUNNING", "round1"), "the second round is at work", 240)
    os.killpg(first.pid, signal.SIGKILL)
    finish(first, None)
    again = place.start("attach", str(config))
    place.hold.unlink()
    told = finish(again)
    assert is_right(place.path, expected), told
    rounds = [number for number in range(8) if place.submissions(f"round{number}-")]
    assert len(rounds) > 2 and rounds == list(range(len(rounds)))
    first_tries = [place.submissions(f"round{number}-")[0] for number in rounds]
    assert all("--array=0-" in call or "--array=0 " in call for call in first_tries), first_tries
    assert not place.jobs()
    assert_few_files(place.path / "work")


def test_several_thresholds_with_meshes_and_skeletons_are_one_attempt(
    place: Place, tmp_path: Path
) -> None:
    config = side_by_side.write(place.path, side_by_side.IN_3D + only_slurm({"max_running": 3}))
    place.own()
    place.run(config, "--thresholds", side_by_side.TEXTS)
    side_by_side.assert_as_alone(config, tmp_path)
    assert len(place.submissions("segment")) == 1, "one set of blocks"
    assert len(place.submissions("verify")) == 2, place.submissions("verify")
    assert not place.jobs()
