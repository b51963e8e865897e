"""What follows from how jobs ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from magneton_tasks.errors import EXIT_CONFIG, EXIT_TEMPORARY
from magneton_tasks.runners.slurm.decide import (
    Bounds,
    Cause,
    Need,
    PartEnd,
    Verdict,
    cause_of,
    decide,
    error_of,
    shared_cause,
)
from magneton_tasks.runners.slurm.states import TaskState
from magneton_tasks.schema_slurm import Slurm as Settings

GIB = 2**30
NEED = Need(4 * GIB, 3600)
OOM = {"exit_code": 75, "cause": "needed more than its limit", "out_of_memory": True}


def end(state: TaskState, missing: int = 1, part: int = 0, *failures: Mapping[str, Any]) -> PartEnd:
    return PartEnd(part, "12", state, missing, failures, "/logs/12_0.log")


def verdict(one: PartEnd, tries: int = 1, most: Bounds | None = None, **given: Any) -> Verdict:
    bounds = most or Bounds(64 * GIB, None)
    return decide([one], {one.part: NEED}, {one.part: tries}, Settings(**given), bounds)


CAUSES = [
    (TaskState("OUT_OF_MEMORY", exit_code=0, signal=125), Cause.MEMORY),
    # linuxproc: no cgroup says that it was the memory
    (TaskState("FAILED", "JobLaunchFailure", "n3", 0, 9), Cause.MEMORY),
    (TaskState("TIMEOUT", "TimeLimit", "n3", 0, 15), Cause.TIME),
    # the worker heard --signal, and gave its block up
    (TaskState("FAILED", "NonZeroExitCode", "n3", 75, 0, 3545), Cause.TIME),
    (TaskState("FAILED", "NonZeroExitCode", "n3", 75, 0, 600), Cause.TEMPORARY),
    (TaskState("NODE_FAIL", "NodeDown", "n2", 0, 0), Cause.NODE),
    (TaskState("PREEMPTED", "", "n2", 75, 0), Cause.PREEMPTED),
    (TaskState("CANCELLED", "by 999", "n2", 0, 15), Cause.CANCELLED),
    (TaskState("GONE"), Cause.LOST),
    (TaskState("COMPLETED", exit_code=0), Cause.SILENT),
    (TaskState("FAILED", "NonZeroExitCode", "n2", 78, 0), Cause.HOPELESS),
    (TaskState("FAILED", "NonZeroExitCode", "n2", 127, 0), Cause.EXIT),
]


@pytest.mark.parametrize(("state", "cause"), CAUSES)
def test_causes(state: TaskState, cause: Cause) -> None:
    assert cause_of(end(state), NEED) is cause


def test_the_workers_own_word_on_memory_counts() -> None:
    state = TaskState("FAILED", "NonZeroExitCode", "n1", 75, 0, 60)
    assert cause_of(end(state, 1, 0, OOM), NEED) is Cause.MEMORY


@pytest.mark.parametrize("state", [s for s, c in CAUSES if c is not Cause.SILENT])
def test_a_complete_part_is_done_however_its_job_ended(state: TaskState) -> None:
    assert verdict(end(state, missing=0)).done == [0]


def test_memory_and_time_grow_up_to_the_most() -> None:
    memory, timeout = CAUSES[0][0], CAUSES[2][0]
    assert verdict(end(memory)).again == {0: Need(6 * GIB, 3600)}
    assert verdict(end(memory), most=Bounds(5 * GIB, None)).again == {0: Need(5 * GIB, 3600)}
    assert verdict(end(timeout), most=Bounds(GIB, 4000)).again == {0: Need(4 * GIB, 4000)}
    for state, key in ((memory, "max_memory"), (timeout, "max_time")):
        failed = verdict(end(state), most=Bounds(4 * GIB, 3600)).failures[0]
        assert failed.exit_code == EXIT_CONFIG and key in str(failed.hint)


def test_node_failures_go_elsewhere_with_what_they_had() -> None:
    found = verdict(end(CAUSES[5][0]))
    assert found.again == {0: NEED} and found.exclude == ["n2"]
    assert verdict(end(CAUSES[6][0])).exclude == []  # a preemption isn't the node's fault


def test_tries_are_capped() -> None:
    assert verdict(end(CAUSES[5][0]), tries=2).again
    failed = verdict(end(CAUSES[5][0]), tries=3).failures[0]
    assert failed.exit_code == EXIT_TEMPORARY and "(3 tries" in failed.words


@pytest.mark.parametrize("nth", [7, 9, 10])
def test_cancelled_silent_and_hopeless_are_never_tried_again(nth: int) -> None:
    found = verdict(end(CAUSES[nth][0]))
    assert not found.again and len(found.failures) == 1


def test_more_than_half_for_one_cause_stops_and_a_bad_node_does_not() -> None:
    needs = dict.fromkeys(range(20), NEED)
    hopeless = [end(CAUSES[10][0], 1, part) for part in range(11)]
    assert shared_cause(hopeless, 20, needs) is Cause.HOPELESS
    assert shared_cause(hopeless[:10], 20, needs) is None
    assert shared_cause(hopeless[:4], 4, needs) is None  # too few to tell
    nodes = [end(CAUSES[5][0], 1, part) for part in range(20)]
    assert shared_cause(nodes, 20, needs) is None


def test_the_error_names_indexes_node_log_and_what_to_do() -> None:
    failures = [
        f for part in range(15) for f in verdict(end(CAUSES[10][0], 1, part)).failures
    ] + verdict(end(CAUSES[7][0], 1, 17)).failures
    error = error_of("segment-0003", failures, Cause.HOPELESS)
    for words in (
        "segment-0003", "more than half", "15 failed: job 12_0 on n2", "12_12", "log: /logs/12_0.log",
        "1 cancelled: job 12_17 on n2: cancelled by 999",
    ):  # fmt: skip
        assert words in error.what
    assert error.exit_code == EXIT_CONFIG
