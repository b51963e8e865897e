"""What follows from how jobs ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from magneton_tasks.errors import (
    EXIT_CONFIG,
    EXIT_IO,
    EXIT_NO_INPUT,
    EXIT_TEMPORARY,
)
from magneton_tasks.runners.arrays.causes import PartEnd, cause_of
from magneton_tasks.runners.arrays.decide import (
    Verdict,
    decide,
    error_of,
    shared_cause,
    to_exclude,
)
from magneton_tasks.runners.arrays.states import GONE, TaskState
from magneton_tasks.runners.retry import Cause, Failed, Need, Policy
from magneton_tasks.runners.slurm.states import task_state
from magneton_tasks.runners.slurm.words import tells_out_of_memory

GIB = 2**30
NEED = Need(4 * GIB, 3600)
OOM = {"exit_code": 75, "cause": "needed more than its limit", "out_of_memory": True}


def end(state: TaskState, missing: int = 1, part: int = 0, *failures: Mapping[str, Any]) -> PartEnd:
    return PartEnd(part, "12", state, missing, failures, "/logs/12_0.log")


def policy(memory: int = 64 * GIB, time_s: int | None = None) -> Policy:
    return Policy(3, 1.5, 2.0, memory, time_s)


def verdict(one: PartEnd, most: Policy | None = None, **before: int) -> Verdict:
    """``before``: how often earlier tries failed, by the name of the cause."""
    failed: Failed = {Cause[name]: n for name, n in before.items()}
    tries = sum(before.values()) + 1
    part = one.part
    return decide(
        [one], {part: NEED}, {part: tries}, most or policy(), {part: failed}, section="slurm"
    )


CAUSES = [
    (task_state("OUT_OF_MEMORY", exit_code=0, signal=125), Cause.MEMORY),
    # linuxproc: no cgroup says that it was the memory
    (task_state("FAILED", "JobLaunchFailure", "n3", 0, 9), Cause.MEMORY),
    (task_state("TIMEOUT", "TimeLimit", "n3", 0, 15), Cause.TIME),
    # the worker heard --signal, and gave its block up
    (task_state("FAILED", "NonZeroExitCode", "n3", 75, 0, 3545), Cause.TIME),
    (task_state("FAILED", "NonZeroExitCode", "n3", 75, 0, 600), Cause.TEMPORARY),
    (task_state("NODE_FAIL", "NodeDown", "n2", 0, 0), Cause.NODE),
    (task_state("PREEMPTED", "", "n2", 75, 0), Cause.PREEMPTED),
    (task_state("CANCELLED", "by 999", "n2", 0, 15), Cause.CANCELLED),
    (GONE, Cause.LOST),
    (task_state("COMPLETED", exit_code=0), Cause.SILENT),
    (task_state("FAILED", "NonZeroExitCode", "n2", 78, 0), Cause.HOPELESS),
    (task_state("FAILED", "NonZeroExitCode", "n2", 127, 0), Cause.EXIT),
    (task_state("FAILED", "OutOfMemory", "n2", 0, 125), Cause.MEMORY),
    (task_state("CANCELLED", "by 999", "n2", 0, 9), Cause.CANCELLED),
    (
        task_state("CANCELLED", "by 0", "n2", 0, 9),
        Cause.MEMORY,
    ),  # as Slurm did before it had a state
]


@pytest.mark.parametrize(("state", "cause"), CAUSES)
def test_causes(state: TaskState, cause: Cause) -> None:
    assert cause_of(end(state), NEED) is cause


def test_the_workers_own_word_on_memory_counts() -> None:
    state = task_state("FAILED", "NonZeroExitCode", "n1", 75, 0, 60)
    assert cause_of(end(state, 1, 0, OOM), NEED) is Cause.MEMORY


@pytest.mark.parametrize(
    ("state", "cause"), [(s, c) for s, c in CAUSES if s.exit_code != 75 and c is not Cause.EXIT]
)
def test_states_and_final_exit_codes_come_before_words(state: TaskState, cause: Cause) -> None:
    """What an earlier try recorded, or left in the log, says nothing of this one."""
    said = "slurmstepd: error: Exceeded job memory limit at some point."
    assert tells_out_of_memory(said)
    assert cause_of(PartEnd(0, "12", state, 1, (OOM,), "", said, said_memory=True), NEED) is cause


def exited(code: int, said: str) -> PartEnd:
    state = task_state("FAILED", "NonZeroExitCode", "n3", code, 0, 60)
    by_memory = tells_out_of_memory(said)
    return PartEnd(0, "12", state, 1, (), "/logs/12_0.log", said, said_memory=by_memory)


#: as slurmstepd, srun and the kernel write it
OF_MEMORY = [
    "slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch. Some of the step tasks have been OOM Killed.",
    "slurmstepd: error: Detected 2 oom-kill event(s) in StepId=12.0. Some of your processes may have been killed",
    "slurmstepd-n3: error: Detected 1 oom-kill event(s) in step 12.batch cgroup.",
    "[2026-11-25T15:42:24.123] error: Detected 1 oom_kill event in StepId=12.batch.",
    "slurmstepd: error: StepId=12.batch exceeded memory limit (522928 > 102400), being killed",
    "slurmstepd: error: Job 12 exceeded memory limit (522928 > 102400), being killed",
    "slurmstepd: error: Exceeded job memory limit at some point.",
    "srun: error: n3: task 0: Out Of Memory",
    "srun: error: n[1-2]: tasks 0-3: Out Of Memory",
    "Memory cgroup out of memory: Killed process 4711 (python) total-vm:1kB",
    "kernel: Out of memory: Killed process 4711 (python)",
    "[ 9123.456] Out of memory: Kill process 4711 (python) score 900 or sacrifice child",
]
#: with parts of those words
NOT_OF_MEMORY = [
    "error: /scratch/mushroom_body is not mounted",
    "bash: /rooms/oom-kill: No such file or directory",
    "error: can't read /data/Out Of Memory/info",
    "slurmstepd: error: execve(): /opt/oom_kill event/python: No such file or directory",
    "/home/bloom/python: not found",
    "error: block 3: the log tells of no oom_kill event",
    "",
]


@pytest.mark.parametrize("said", OF_MEMORY)
@pytest.mark.parametrize("code", [137, 1])
def test_the_words_of_slurm_and_the_kernel_tell_of_memory(said: str, code: int) -> None:
    assert cause_of(exited(code, said), NEED) is Cause.MEMORY
    assert cause_of(exited(EXIT_NO_INPUT, said), NEED) is Cause.HOPELESS
    assert cause_of(exited(EXIT_IO, said), NEED) is Cause.TEMPORARY


@pytest.mark.parametrize("said", NOT_OF_MEMORY)
@pytest.mark.parametrize("code", [137, 1])
def test_other_words_do_not(said: str, code: int) -> None:
    assert cause_of(exited(code, said), NEED) is Cause.EXIT


def test_a_missing_mount_keeps_its_exit_code_and_gets_no_more_memory() -> None:
    found = verdict(exited(EXIT_NO_INPUT, "error: /scratch/mushroom_body is not mounted"))
    assert found.again == {}
    assert found.failures[0].exit_code == EXIT_NO_INPUT
    assert "/scratch/mushroom_body is not mounted" in found.failures[0].words


@pytest.mark.parametrize("state", [s for s, c in CAUSES if c is not Cause.SILENT])
def test_a_complete_part_is_done_however_its_job_ended(state: TaskState) -> None:
    assert verdict(end(state, missing=0)).done == [0]


def test_memory_and_time_grow_up_to_the_most() -> None:
    memory, timeout = CAUSES[0][0], CAUSES[2][0]
    assert verdict(end(memory)).again == {0: Need(6 * GIB, 3600)}
    assert verdict(end(memory), most=policy(5 * GIB)).again == {0: Need(5 * GIB, 3600)}
    assert verdict(end(timeout), most=policy(GIB, 4000)).again == {0: Need(4 * GIB, 4000)}
    for state, key in ((memory, "max_memory"), (timeout, "max_time")):
        failed = verdict(end(state), most=policy(4 * GIB, 3600)).failures[0]
        assert failed.exit_code == EXIT_CONFIG and key in str(failed.hint)


def test_node_failures_go_elsewhere_with_what_they_had() -> None:
    found = verdict(end(CAUSES[5][0]))
    assert found.again == {0: NEED} and found.blamed == ["n2"]
    assert verdict(end(CAUSES[6][0])).blamed == []  # a preemption isn't the node's fault


def test_a_node_that_falls_fails_once_and_jobs_that_do_not_run_there_each() -> None:
    for nth, blamed in ((5, ["n2"]), (11, ["n2"] * 3)):
        ends = [end(CAUSES[nth][0], 1, part) for part in range(3)]
        parts = range(3)
        needs, tries = dict.fromkeys(parts, NEED), dict.fromkeys(parts, 1)
        assert decide(ends, needs, tries, policy()).blamed == blamed


EXCLUSIONS: list[tuple[dict[str, int], list[str], set[str], list[str]]] = [
    ({"n2": 1}, [], {"n1", "n2", "n3"}, []),  # a single failure
    ({"n2": 2}, [], {"n1", "n2", "n3"}, ["n2"]),
    ({"n2": 2}, [], {"n1", "n3"}, ["n2"]),  # it is down
    ({"n2": 2}, [], {"n1", "n2"}, ["n2"]),
    ({"n2": 9}, [], {"n2"}, []),  # the last
    ({"n1": 3, "n2": 2}, [], {"n1", "n2"}, ["n1"]),
    ({"n1": 2, "n2": 2, "n3": 2}, [], {"n1", "n2", "n3"}, ["n1"]),  # it isn't the nodes
    ({"n3": 2}, ["n1"], {"n2", "n3", "n4"}, ["n1", "n3"]),
    ({"n2": 2}, ["n1"], {"n1", "n2"}, ["n1"]),
    ({"n2": 9}, [], set(), []),  # nobody knows what is left
]


@pytest.mark.parametrize(("blamed", "excluded", "working", "expected"), EXCLUSIONS)
def test_nodes_that_fail_again_are_excluded_and_never_the_last(
    blamed: dict[str, int], excluded: list[str], working: set[str], expected: list[str]
) -> None:
    assert to_exclude(blamed, excluded, working) == expected


def test_the_first_cause_stays_in_the_message() -> None:
    again = verdict(end(CAUSES[5][0]))
    assert again.first == {0: "job 12_0 on n2: node failed"}
    one = end(CAUSES[11][0])
    last = decide([one], {0: NEED}, {0: 3}, policy(), {0: {Cause.EXIT: 2}}, again.first)
    words = last.failures[0].words
    assert "failed to run with exit code 127 (3 tries)" in words
    assert words.endswith("the first: job 12_0 on n2: node failed")
    assert "the first" not in verdict(one, EXIT=2).failures[0].words


def test_tries_are_capped() -> None:
    assert verdict(end(CAUSES[5][0]), NODE=1).again
    failed = verdict(end(CAUSES[5][0]), NODE=2).failures[0]
    assert failed.exit_code == EXIT_TEMPORARY and "(3 tries" in failed.words


def test_tries_are_counted_by_cause() -> None:
    """What ran out of memory twice and was preempted once isn't out of tries if its node fails."""
    node = end(CAUSES[5][0])
    found = verdict(node, MEMORY=2, PREEMPTED=1, NODE=1)
    assert found.again == {0: NEED}
    assert found.failed == {0: {Cause.MEMORY: 2, Cause.PREEMPTED: 1, Cause.NODE: 2}}
    assert verdict(node, MEMORY=2, PREEMPTED=1, NODE=2).failures


@pytest.mark.parametrize("nth", [7, 9, 10])
def test_cancelled_silent_and_hopeless_are_never_tried_again(nth: int) -> None:
    found = verdict(end(CAUSES[nth][0]))
    assert not found.again and len(found.failures) == 1


def test_more_than_half_for_one_cause_stops_and_a_bad_node_does_not() -> None:
    needs = dict.fromkeys(range(20), NEED)
    hopeless = [end(CAUSES[10][0], 1, part) for part in range(11)]
    assert shared_cause(hopeless, 20, needs, {}) is Cause.HOPELESS
    assert shared_cause(hopeless[:10], 20, needs, {}) is None
    assert shared_cause(hopeless[:4], 4, needs, {}) is None  # too few to tell
    nodes = [end(CAUSES[5][0], 1, part) for part in range(20)]
    assert shared_cause(nodes, 20, needs, {}) is None


@pytest.mark.parametrize("nth", [0, 2])
def test_an_array_that_needs_more_gets_more(nth: int) -> None:
    ends = [end(CAUSES[nth][0], 1, part) for part in range(20)]
    needs, tries = dict.fromkeys(range(20), NEED), dict.fromkeys(range(20), 1)
    assert shared_cause(ends, 20, needs, tries) is None
    found = decide(ends, needs, tries, policy())
    assert set(found.again) == set(range(20))


def test_an_array_that_fails_once_is_tried_again_as_it_is() -> None:
    ends = [end(CAUSES[4][0], 1, part) for part in range(20)]
    needs = dict.fromkeys(range(20), NEED)
    assert shared_cause(ends, 20, needs, {}) is None
    assert shared_cause(ends, 20, needs, dict.fromkeys(needs, 1)) is Cause.TEMPORARY


def test_the_error_names_indexes_node_log_and_what_to_do() -> None:
    failures = [
        f for part in range(15) for f in verdict(end(CAUSES[10][0], 1, part)).failures
    ] + verdict(end(CAUSES[7][0], 1, 17)).failures
    error = error_of("segment-0003", failures, Cause.HOPELESS)
    for words in (
        "segment-0003",
        "more than half",
        "15 failed: job 12_0 on n2",
        "12_12",
        "log: /logs/12_0.log",
        "1 cancelled: job 12_17 on n2: cancelled by 999",
    ):
        assert words in error.what
    assert error.exit_code == EXIT_CONFIG
    # of an array that went on to its end, a retry mends what was cancelled
    assert error_of("segment-0003", failures).exit_code == EXIT_TEMPORARY
