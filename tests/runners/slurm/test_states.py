"""What Slurm's programs print: 22.05 as recorded, 23.11 and 24.05 as its documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from magneton_tasks.runners.arrays.states import of_data, reference, split, to_data
from magneton_tasks.runners.slurm import states
from magneton_tasks.runners.slurm.states import task_state

RECORDED = Path(__file__).parent / "recorded"


def squeue_lines(name: str) -> str:
    """A recorded squeue in our order of columns: the recordings have more of them."""
    lines = []
    for line in (RECORDED / name).read_text().splitlines():
        _, _, job, index, state, reason, node, _, elapsed, _ = line.split("|")
        lines.append("|".join([job, index, state, elapsed, node, reason]))
    return "\n".join(lines)


def sacct_lines(name: str) -> str:
    """A recorded sacct in our columns; ours asks for allocations only, so steps are left out."""
    lines = []
    for line in (RECORDED / name).read_text().splitlines():
        identity, _, state, code, _, node, elapsed, _, _, _, _, _, reason, *_ = line.split("|")
        if "." not in identity:
            seconds = str(states.parse_elapsed(elapsed))
            lines.append("|".join([identity, state, code, seconds, node, reason]))
    return "\n".join(lines)


def test_recorded_squeue_tells_each_index() -> None:
    running = states.parse_squeue(squeue_lines("squeue-running.txt"))["1"]
    assert running[4] == task_state("PENDING", "JobArrayTaskLimit")
    assert running[2].is_running and running[2].node == "n3" and not running[2].is_over
    assert running[0].word == "COMPLETED" and running[0].is_over and running[0].elapsed_s == 30
    ended = states.parse_squeue(squeue_lines("squeue-all-states.txt"))
    assert {i: t.word for i, t in ended["16"].items()} == dict.fromkeys(range(8), "CANCELLED")
    assert ended["2"][1].word == "FAILED" and not ended["2"][1].is_known


def test_recorded_sacct_tells_how_they_ended_and_by_whom() -> None:
    ends = states.parse_sacct(sacct_lines("sacct-all-states.txt"))
    assert ends["2"][0].exit_code == 3 and ends["2"][0].is_known
    assert {t.reason for t in ends["16"].values()} == {"by 999"}


def test_what_sacct_still_calls_running_or_pending_is_no_end() -> None:
    early = states.parse_sacct(sacct_lines("sacct-early.txt"))
    assert set(early["1"]) == {0, 1}


def test_recorded_scontrol_tells_exit_codes() -> None:
    failed = states.parse_scontrol((RECORDED / "scontrol-job-array-failed.txt").read_text())["2"]
    assert {t.exit_code for t in failed.values()} == {3} and set(failed) == {0, 1, 2}
    cancelled = states.parse_scontrol((RECORDED / "scontrol-job-array-cancelled.txt").read_text())[
        "16"
    ]
    assert set(cancelled) == set(range(8)) and cancelled[3].signal == 15


# From the manual pages of 23.11 and 24.05, not recorded: `squeue -o %K` of a pending array with a
# throttle, states that 22.05 doesn't print, and sacct's "+" behind a state that was cut.
DOCUMENTED = [
    ("7|0-2,5%2|PENDING|0:00||Priority", {0: "PENDING", 1: "PENDING", 2: "PENDING", 5: "PENDING"}),
    ("7|0-8:4|PENDING|0:00||Resources", {0: "PENDING", 4: "PENDING", 8: "PENDING"}),
    ("7|3|REQUEUE_HOLD|0:00||launch failed requeued held", {3: "REQUEUE_HOLD"}),
    ("7|3|SPECIAL_EXIT|0:00||JobHeldUser", {3: "SPECIAL_EXIT"}),
    ("7|3|RESV_DEL_HOLD|0:00||Reservation", {3: "RESV_DEL_HOLD"}),
    ("7|3|SIGNALING|1-00:00:07|n1|None", {3: "SIGNALING"}),
    ("7|3|STAGE_OUT|1:00|n1|None", {3: "STAGE_OUT"}),
]


@pytest.mark.parametrize(("line", "expected"), DOCUMENTED)
def test_documented_words_of_newer_versions(line: str, expected: dict[int, str]) -> None:
    found = states.parse_squeue(line)["7"]
    assert {i: t.word for i, t in found.items()} == expected
    assert not any(t.is_over for t in found.values())


def test_documented_sacct_of_newer_versions() -> None:
    lines = (
        "7_1|OUT_OF_ME+|0:125|61|n2|OutOfMemory\n7_[4-6%2]|PENDING|0:0|0|None assigned|Priority\n"
    )
    assert set(states.parse_sacct(lines)["7"]) == {1}
    assert states.parse_sacct("7_1|DEADLINE|0:0|61|n2|None")["7"][1].is_over


def test_a_requeued_index_that_is_listed_twice_is_not_over() -> None:
    twice = "7|1|NODE_FAIL|0:30|n2|NodeDown\n7|1|PENDING|0:00||BeginTime"
    other = "\n".join(reversed(twice.splitlines()))
    for text in (twice, other):
        assert states.parse_squeue(text)["7"][1].word == "PENDING"


def test_states_survive_json() -> None:
    tasks = {i: task_state("RUNNING", node="n1", elapsed_s=7) for i in range(500)}
    tasks |= {900: task_state("FAILED", "NonZeroExitCode", "n2", 75, 0, 61)}
    data = to_data({"12": tasks})
    assert len(str(data)) < 300
    back = of_data(data)["12"]
    assert back[900] == tasks[900] and set(back) == set(tasks) and back[3].is_running


def test_references_name_the_indexes() -> None:
    assert reference("12", [0, 1, 2, 7]) == "12_[0-2,7]"
    assert split("12_[0-2,7]") == ("12", [0, 1, 2, 7])
    assert split("12_[0]") == ("12", [0])
