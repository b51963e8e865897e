"""A batch on a cluster, step by step, on a fake cluster: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.errors import (
    EXIT_BAD_DATA,
    EXIT_BUG,
    EXIT_CONFIG,
    EXIT_IO,
    EXIT_NO_INPUT,
    EXIT_TEMPORARY,
)
from magneton_tasks.runners.arrays.batch import BatchJobs
from magneton_tasks.runners.arrays.scheduler import RefusedError
from magneton_tasks.runners.arrays.snapshot import Snapshot, Timing
from magneton_tasks.runners.arrays.steps import Done, Failed, Later, Lost, Step, Wait
from magneton_tasks.runners.arrays.watch import wait_ready
from magneton_tasks.runners.jobs import open_jobs
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.work.paths import AttemptPaths
from tests.runners.slurm.fake_cluster import Cluster, Planned

RECORDED = Path(__file__).parent / "recorded"
TIMING = Timing(poll_s=0.05, max_poll_s=0.05, grace_s=0.2, give_up_s=5)
#: index 0 is the first of four parts
PARTS = 4


@pytest.fixture
def paths(planned: Planned) -> AttemptPaths:
    return planned()


def watch(jobs: BatchJobs, step: Step) -> Snapshot:
    """What is seen once there's something to decide."""
    assert isinstance(step, Wait), step
    return asyncio.run(
        asyncio.wait_for(wait_ready(jobs.about.scheduler.cluster, step.jobs, TIMING), 60)
    )


def to_its_end(jobs: BatchJobs, token: str | None = None) -> Step:
    """Step and watch until it's over."""
    token = token or jobs.adopt()
    step = jobs.step(token)
    while isinstance(step, Wait):
        step = jobs.step(token, watch(jobs, step))
    return step


def worker_rules(cluster: Cluster, rules: dict[str, Any]) -> None:
    (cluster.home / "worker.json").write_text(json.dumps(rules))


def arrays(cluster: Cluster) -> list[str]:
    """What each sbatch asked for, in order."""
    return [about["array"] for about in cluster.jobs.values()]


def has_option(cluster: Cluster, nth: int, name: str) -> bool:
    arguments: list[str] = list(cluster.jobs.values())[nth]["arguments"]
    return any(a.startswith(f"--{name}=") for a in arguments)


def option(cluster: Cluster, nth: int, name: str) -> str:
    arguments: list[str] = list(cluster.jobs.values())[nth]["arguments"]
    return next(a.partition("=")[2] for a in arguments if a.startswith(f"--{name}="))


def test_a_batch_is_one_array_and_done_by_slurm_and_the_manifest(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Done)
    assert step.result["done"] == 12 and step.result["failed"] == 0
    assert arrays(cluster) == ["0-3"]


def test_only_the_parts_that_miss_blocks_are_submitted_again(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(rules={"2.1": {"state": "NODE_FAIL", "node": "n2", "exit": "0:0"}})
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Done)
    assert arrays(cluster) == ["0-3", "2"]
    assert not has_option(cluster, 1, "exclude"), "a single failure may have been one"


NODE_FAILS = {"state": "NODE_FAIL", "node": "n2", "exit": "0:0"}


def test_a_node_that_fails_again_is_kept_away_from(cluster: Cluster, paths: AttemptPaths) -> None:
    cluster.set(rules={"2.1": NODE_FAILS, "2.2": NODE_FAILS})
    jobs = open_jobs(paths.root, "segment", 0)
    assert isinstance(to_its_end(jobs), Done)
    assert option(cluster, 2, "exclude") == "n2"


def test_an_io_error_that_comes_once_is_tried_again_as_it_is(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    failed = {"state": "FAILED", "node": "n2", "exit": f"{EXIT_IO}:0"}
    cluster.set(rules={f"{n}.1": failed for n in range(4)})
    assert isinstance(to_its_end(open_jobs(paths.root, "segment", 0)), Done)
    assert arrays(cluster) == ["0-3", "0-3"]
    assert not has_option(cluster, 1, "exclude")
    assert option(cluster, 0, "mem") == option(cluster, 1, "mem")


def test_the_last_node_is_never_excluded(cluster: Cluster, paths: AttemptPaths) -> None:
    """All of them failed once more than once: it isn't the nodes, and jobs still run."""
    broken = {
        f"{part}.{n}": {"state": "FAILED", "node": f"n{part % 2 + 1}", "exit": "127:0"}
        for part in range(4)
        for n in (1, 2)
    }
    cluster.set(rules=broken, nodes=["n1", "n2"])
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Done), step
    assert option(cluster, 2, "exclude") in ("n1", "n2")


def test_where_slurm_refuses_to_go_without_a_node_it_is_asked_again_with_it(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    known = jobs.about.job_files.load()
    known.exclude = ["n1", "n2", "n3"]  # its others are gone since
    jobs.about.job_files.save(known)
    step = jobs.step(token)
    assert isinstance(step, Wait) and any("without excluding n1, n2, n3" in n for n in step.notes)
    assert isinstance(to_its_end(jobs, token), Done)
    assert not has_option(cluster, 0, "exclude")


def test_what_was_wrong_before_is_told_where_slurm_refuses_the_next_try(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(rules={"2.1": NODE_FAILS})
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    seen = watch(jobs, jobs.step(token))
    cluster.fail("sbatch", (RECORDED / "sbatch-too-much-memory.err").read_text())
    with pytest.raises(RefusedError) as raised:
        jobs.step(token, seen)
    assert "node configuration is not available" in raised.value.what
    assert "before that: job 100_2 on n2: node failed" in raised.value.what


def test_a_path_with_three_letters_in_it_gets_no_more_memory(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    jobs = open_jobs(paths.root, "segment", 0)
    failed = {"state": "FAILED", "node": "n2", "exit": f"{EXIT_NO_INPUT}:0"}
    cluster.set(rules={"1": failed})
    token = jobs.adopt()
    step = jobs.step(token)
    log = jobs.about.attempt.paths.job_log("segment", 0, f"{next(iter(cluster.jobs))}_1")
    log.write_text("error: /scratch/mushroom_body is not mounted\n")
    step = jobs.step(token, watch(jobs, step))
    assert isinstance(step, Failed) and step.error.exit_code == EXIT_NO_INPUT
    assert "/scratch/mushroom_body is not mounted" in step.error.what
    assert arrays(cluster) == ["0-3"]


def test_the_daemons_word_on_memory_gets_more_of_it_wherever_it_stands_in_the_log(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    jobs = open_jobs(paths.root, "segment", 0)
    cluster.set(rules={"1.1": {"state": "FAILED", "node": "n2", "exit": "137:0"}})
    token = jobs.adopt()
    step = jobs.step(token)
    log = jobs.about.attempt.paths.job_log("segment", 0, f"{next(iter(cluster.jobs))}_1")
    log.write_text(
        "slurmstepd: error: Detected 1 oom_kill event in StepId=100.batch. Some of the step tasks "
        "have been OOM Killed.\nsrun: error: n2: task 0: Killed\n"
    )
    step = jobs.step(token, watch(jobs, step))
    assert isinstance(to_its_end(jobs, token), Done)
    assert option(cluster, 1, "mem") == "1536M"


def test_out_of_memory_gets_more_memory_up_to_the_most(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    # as linuxproc shows it: FAILED, JobLaunchFailure, killed
    killed = {"state": "FAILED", "reason": "JobLaunchFailure", "exit": "0:9"}
    cluster.set(rules={"1.1": {"state": "OUT_OF_MEMORY", "exit": "0:125"}, "1.2": killed})
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Done)
    assert [option(cluster, n, "mem") for n in range(3)] == ["1024M", "1536M", "2304M"]
    assert arrays(cluster) == ["0-3", "1", "1"]


def test_out_of_memory_at_the_most_names_the_job_and_what_to_do(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(rules={"1": {"state": "OUT_OF_MEMORY", "exit": "0:125", "node": "n3"}})
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Failed)
    assert step.error.exit_code == EXIT_CONFIG
    assert "_1 on n3: out of memory with 2.2 GiB" in step.error.what
    assert "(3 tries" in step.error.what
    assert "slurm.max_memory" in str(step.error.hint)


def test_a_time_out_gets_more_time(cluster: Cluster, paths: AttemptPaths) -> None:
    cluster.set(rules={"0.1": {"state": "TIMEOUT", "exit": "0:15"}})
    assert isinstance(to_its_end(open_jobs(paths.root, "segment", 0)), Done)
    assert [option(cluster, n, "time") for n in range(2)] == ["0-00:30:00", "0-01:00:00"]


def test_data_errors_are_never_resubmitted(cluster: Cluster, paths: AttemptPaths) -> None:
    failure = {"exit_code": EXIT_BAD_DATA, "cause": "block 4 holds NaN", "hint": "mend it"}
    worker_rules(cluster, {"1": {"exit": EXIT_BAD_DATA, "blocks": 1, "failure": failure}})
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Failed)
    assert step.error.exit_code == EXIT_BAD_DATA
    assert "block 4 holds NaN" in step.error.what and step.error.hint == "mend it"
    assert arrays(cluster) == ["0-3"]


VERSIONS = "error: plan.json was planned by Magneton 0.2.0; this is 0.1.0"


@pytest.mark.parametrize(
    ("says", "hint"),
    [
        (f"{VERSIONS}\n  what to do: install Magneton 0.2.0 there", "install Magneton 0.2.0 there"),
        (VERSIONS, "see its log and fix the cause: a rerun alone changes nothing"),
    ],
)
def test_a_worker_that_can_t_begin_says_what_to_do(
    says: str, hint: str, paths: AttemptPaths, python: Path
) -> None:
    python.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {EXIT_CONFIG}\n")
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Failed) and step.error.exit_code == EXIT_CONFIG
    assert VERSIONS.removeprefix("error: ") in step.error.what
    assert step.error.hint == hint


def test_completed_without_its_records_is_an_error(
    cluster: Cluster, paths: AttemptPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_rules(cluster, {"3": {"blocks": 1}})
    jobs = open_jobs(paths.root, "segment", 0)
    monkeypatch.setattr(type(jobs.about.attempt), "wait_s", 0.0)
    step = to_its_end(jobs)
    assert isinstance(step, Failed)
    assert step.error.exit_code == EXIT_BUG
    assert "completed without its records" in step.error.what


def test_complete_records_with_a_lost_job_are_a_success(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    step = jobs.step(token)
    watch(jobs, step)  # they ran
    cluster.set(purged=True, accounting=False)
    with cluster.edited() as state:
        for about in state["jobs"].values():
            about["tasks"] = {}  # nobody knows the job any more
    assert isinstance(to_its_end(jobs, jobs.adopt()), Done)
    assert arrays(cluster) == ["0-3"]


def test_cancelled_by_somebody_is_said_and_not_resubmitted(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(rules={"0": {"state": "CANCELLED", "by": "1007", "exit": "0:15"}})
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Failed)
    assert "cancelled by 1007" in step.error.what
    assert arrays(cluster) == ["0-3"]


def test_after_somebody_cancelled_a_batch_no_other_is_submitted(
    cluster: Cluster, planned: Planned
) -> None:
    cluster.set(max_array=2, rules={"*": {"state": "CANCELLED", "by": "1007", "exit": "0:15"}})
    paths = planned("max_queued: 3, max_running: 3")  # one batch at a time
    first, second = (open_jobs(paths.root, "segment", n) for n in (0, 1))
    token, turn = first.adopt(), second.adopt()
    waiting = first.step(token)
    assert isinstance(second.step(turn), Later)
    stopped = first.step(token, watch(first, waiting))
    assert isinstance(stopped, Failed) and stopped.by_somebody
    halted = second.step(turn)
    assert isinstance(halted, Failed) and halted.by_somebody
    assert halted.error.exit_code == EXIT_TEMPORARY
    assert "segment-0000" in halted.error.what and "cancelled by 1007" in halted.error.what
    assert len(arrays(cluster)) == 1
    # whoever tries the first again wants the others, too
    cluster.set(rules={})
    assert isinstance(to_its_end(first), Done)
    assert isinstance(to_its_end(second), Done)


def test_a_batch_that_is_at_work_when_another_is_cancelled_goes_on(
    cluster: Cluster, planned: Planned
) -> None:
    cluster.set(max_array=2, rules={"0.1": {"state": "OUT_OF_MEMORY", "exit": "0:125"}})
    paths = planned("max_queued: 4, max_running: 4")
    first, second = (open_jobs(paths.root, "segment", n) for n in (0, 1))
    token, turn = first.adopt(), second.adopt()
    waits = first.step(token), second.step(turn)
    cluster.set(rules={"*": {"state": "CANCELLED", "by": "1007", "exit": "0:15"}})
    seen = watch(first, waits[0])
    assert isinstance(first.step(token, seen), Failed)
    cluster.set(rules={"0.1": {"state": "OUT_OF_MEMORY", "exit": "0:125"}})
    with cluster.edited() as state:
        (about,) = (a for a in state["jobs"].values() if "segment-0001" in a["name"])
        about["tasks"] = {i: {"state": "PENDING"} for i in ("0", "1")}
    step: Step = waits[1]
    while isinstance(step, Wait):
        step = second.step(turn, watch(second, step))
    assert isinstance(step, Done), step


# ------------------------------------------------------------------ limits
def test_a_small_quota_means_smaller_arrays_and_waiting(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(max_submit=2)
    step = to_its_end(open_jobs(paths.root, "segment", 0))
    assert isinstance(step, Done)
    assert arrays(cluster) == ["0-1", "2-3"]


def test_no_room_at_all_means_later_not_a_failed_try(cluster: Cluster, paths: AttemptPaths) -> None:
    cluster.set(max_submit=0)
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    step = jobs.step(token)
    assert isinstance(step, Later) and "QOSMaxSubmitJobPerUserLimit" in step.why
    cluster.set(max_submit=None)
    assert isinstance(to_its_end(jobs, token), Done)
    assert jobs.about.job_files.load().tries == {0: 1, 1: 1, 2: 1, 3: 1}


def test_silence_of_slurmctld_is_waited_for_and_then_given_up(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.fail(
        "squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    )
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    assert isinstance(jobs.step(token), Later)
    known = jobs.about.job_files.load()
    known.limited_since = 1.0
    jobs.about.job_files.save(known)
    step = jobs.step(token)
    assert isinstance(step, Failed) and step.error.exit_code == EXIT_TEMPORARY


def test_what_sbatch_refuses_for_good_is_an_error_of_the_config(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    says = (RECORDED / "sbatch-no-qos.err").read_text()
    cluster.fail("sbatch", says)
    jobs = open_jobs(paths.root, "segment", 0)
    with pytest.raises(Exception, match="Invalid qos specification") as raised:
        jobs.step(jobs.adopt())
    assert getattr(raised.value, "exit_code", None) == EXIT_CONFIG


# ------------------------------------------------------------------ no lost or doubled jobs
def test_a_job_whose_submission_was_not_answered_is_found_by_its_name(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(loses_answer=True)
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    assert isinstance(jobs.step(token), Later)
    cluster.set(loses_answer=False)
    assert isinstance(to_its_end(jobs, token), Done)
    assert len(cluster.jobs) == 1


def test_a_found_job_keeps_its_parts(cluster: Cluster, paths: AttemptPaths) -> None:
    cluster.set(loses_answer=True)
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    assert isinstance(jobs.step(token), Later)
    cluster.set(loses_answer=False)
    known = jobs.about.job_files.load()
    known.accepted = 1  # a limit was met since: two at a time would be asked for
    jobs.about.job_files.save(known)
    step = jobs.step(token)
    assert isinstance(step, Wait) and step.jobs == (f"{next(iter(cluster.jobs))}_[0-3]",)
    assert len(cluster.jobs) == 1


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "done"])
def test_a_new_try_finds_the_jobs_of_the_old_one(
    cluster: Cluster, paths: AttemptPaths, state: str
) -> None:
    old = open_jobs(paths.root, "segment", 0)
    first = old.adopt()
    step = old.step(first)
    if state == "RUNNING":
        cluster.set(rules={"*": {"state": "RUNNING"}})
        Slurm().run(("squeue", f"--jobs={next(iter(cluster.jobs))}"))
    if state == "done":
        watch(old, step)
    new = open_jobs(paths.root, "segment", 0)
    second = new.adopt()
    assert isinstance(old.step(first), Lost)
    assert old.cancel(first) == []  # its on_kill comes late: the job is another's
    cluster.set(rules={})
    assert isinstance(to_its_end(new, second), Done)
    assert len(cluster.jobs) == 1 and cluster.calls("scancel") == []


def test_on_kill_before_the_new_try_cancels_and_the_new_try_submits_anew(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    old = open_jobs(paths.root, "segment", 0)
    token = old.adopt()
    assert isinstance(old.step(token), Wait)
    assert old.cancel(token) == list(cluster.jobs)
    new = open_jobs(paths.root, "segment", 0)
    assert isinstance(to_its_end(new), Done)
    assert len(cluster.jobs) == 2


def test_what_is_done_is_not_submitted_again(cluster: Cluster, paths: AttemptPaths) -> None:
    failure = {"exit_code": EXIT_BAD_DATA, "cause": "NaN"}
    worker_rules(cluster, {"1": {"exit": EXIT_BAD_DATA, "blocks": 0, "failure": failure}})
    assert isinstance(to_its_end(open_jobs(paths.root, "segment", 0)), Failed)
    worker_rules(cluster, {})
    assert isinstance(to_its_end(open_jobs(paths.root, "segment", 0)), Done)
    assert arrays(cluster) == ["0-3", "1"]


def test_a_stage_without_batches_is_an_array_of_one(cluster: Cluster, paths: AttemptPaths) -> None:
    step = to_its_end(open_jobs(paths.root, "verify"))
    assert isinstance(step, Done) and step.result["stage"] == "verify"
    assert arrays(cluster) == ["0"]


def test_verify_that_is_cleared_works_again(cluster: Cluster, paths: AttemptPaths) -> None:
    for n in (1, 2):
        assert isinstance(to_its_end(open_jobs(paths.root, "verify")), Done)
        assert len(cluster.jobs) == n


def test_blocks_made_invalid_since_are_done_again(cluster: Cluster, paths: AttemptPaths) -> None:
    jobs = open_jobs(paths.root, "segment", 0)
    assert isinstance(to_its_end(jobs), Done)
    jobs.about.attempt.invalidate("segment", {7: "its file is damaged"})
    assert isinstance(to_its_end(open_jobs(paths.root, "segment", 0)), Done)
    assert arrays(cluster) == ["0-3", "2"]  # 12 blocks in 4 parts: block 7 is of the third


def test_batches_share_the_queue(cluster: Cluster, planned: Planned) -> None:
    cluster.set(max_array=2)
    paths = planned("max_queued: 4, max_running: 3")  # two batches of two parts: both fit
    first, second = (open_jobs(paths.root, "segment", n) for n in (0, 1))
    assert first.about.arrays_at_once == 2
    for jobs in (first, second):
        assert isinstance(jobs.step(jobs.adopt()), Wait)
    assert [option(cluster, n, "array") for n in (0, 1)] == ["0-1%1", "0-1%1"]


def test_a_batch_waits_for_its_turn(cluster: Cluster, planned: Planned) -> None:
    cluster.set(max_array=2)
    paths = planned("max_queued: 3, max_running: 3")
    first, second = (open_jobs(paths.root, "segment", n) for n in (0, 1))
    token = first.adopt()
    assert isinstance(first.step(token), Wait)
    turn = second.adopt()
    waiting = second.step(turn)
    assert isinstance(waiting, Later) and "max_queued" in waiting.why
    first.cancel(token)
    assert isinstance(second.step(turn), Wait)


def test_cancelling_finds_the_job_whose_submission_was_not_answered(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    cluster.set(loses_answer=True)
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    assert isinstance(jobs.step(token), Later)
    assert jobs.cancel(token) == list(cluster.jobs)
    assert {t["state"] for j in cluster.jobs.values() for t in j["tasks"].values()} == {"CANCELLED"}


def test_an_array_half_of_which_failed_is_judged_before_the_rest_ends(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    failed = {"state": "NODE_FAIL", "node": "n2", "exit": "0:0"}
    cluster.set(rules={f"{n}.1": failed for n in range(3)} | {"3.1": "wait"})
    jobs = open_jobs(paths.root, "segment", 0)
    token = jobs.adopt()
    step = jobs.step(token, watch(jobs, jobs.step(token)))
    assert isinstance(step, Wait)
    assert arrays(cluster) == ["0-3", "0-2"]
    first, second = cluster.jobs
    assert step.jobs == (f"{first}_[3]", f"{second}_[0-2]")
    cluster.set(rules={})
    assert isinstance(to_its_end(jobs, token), Done)
    assert len(cluster.jobs) == 2


def test_the_record_of_an_earlier_run_is_no_proof_for_a_job_that_was_lost(
    cluster: Cluster, paths: AttemptPaths
) -> None:
    jobs = open_jobs(paths.root, "segment", 0)
    with jobs.about.attempt.manifest("segment").writer("earlier", "segment", 0, 0) as writer:
        for key in range(12):
            writer.add(key, "done", attempt=1, input="another", output="o")
    cluster.set(rules={"2.1": {"state": "NODE_FAIL", "node": "n2", "exit": "0:0"}})
    assert isinstance(to_its_end(jobs), Done)
    assert arrays(cluster) == ["0-3", "2"]
