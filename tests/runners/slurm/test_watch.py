"""Watching: few queries however many wait, sacct that lags or isn't there, silence of slurmctld."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from magneton_tasks.runners.arrays.scheduler import Answer, BusyError
from magneton_tasks.runners.arrays.snapshot import Snapshot, Timing
from magneton_tasks.runners.arrays.states import GONE, reference
from magneton_tasks.runners.arrays.watch import wait_ready, watching
from magneton_tasks.runners.slurm.cluster import SlurmCluster
from magneton_tasks.runners.slurm.programs import Slurm

#: what a fake program answers
Answers = Callable[[Sequence[str]], Answer]
FAST = Timing(poll_s=0.1, max_poll_s=0.4, grace_s=0.5, give_up_s=1.0)


class Fake:
    """Stands for `Slurm.run_async`; keeps what was asked, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: Answers) -> None:
        self.calls: list[tuple[float, tuple[str, ...]]] = []

        async def run_async(_: Slurm, arguments: Sequence[str], stdin: str = "") -> Answer:
            self.calls.append((time.monotonic(), tuple(arguments)))
            return answers(arguments)

        monkeypatch.setattr(Slurm, "run_async", run_async)

    def of(self, program: str) -> list[float]:
        return [at for at, arguments in self.calls if arguments[0] == program]


def line(job: int, indexes: str, state: str, reason: str = "None") -> str:
    return f"{job}|{indexes}|{state}|0:05|n1|{reason}"


def wait(jobs: Sequence[str], timing: Timing = FAST, **options: Any) -> Snapshot:
    return asyncio.run(
        asyncio.wait_for(wait_ready(SlurmCluster(Slurm()), jobs, timing, **options), 20)
    )


def test_ten_thousand_tasks_in_ten_arrays_take_one_query_each_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A minute in miniature: 10 s are 0.1 s here. The arrays end one after the other, which keeps the
    # interval at its least, and 256 callers wait for them.
    began = time.monotonic()

    def answers(arguments: Sequence[str]) -> Answer:
        over = int((time.monotonic() - began) / 0.1)
        lines = [line(j, "0-999", "COMPLETED" if j < over else "RUNNING") for j in range(10)]
        return Answer(0, "\n".join(lines), "")

    fake = Fake(monkeypatch, answers)

    async def everybody() -> list[Snapshot]:
        waits = (
            wait_ready(SlurmCluster(Slurm()), [reference(str(n % 10), range(1000))], FAST)
            for n in range(256)
        )
        return await asyncio.gather(*waits)

    found = asyncio.run(asyncio.wait_for(everybody(), 60))
    assert all(s.is_ready for s in found)
    times = fake.of("squeue")
    assert len(fake.calls) == len(times)  # sacct isn't needed where all completed
    assert all(b - a >= 0.1 for a, b in itertools.pairwise(times))


def test_the_interval_grows_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()

    def answers(arguments: Sequence[str]) -> Answer:
        state = "COMPLETED" if time.monotonic() - began > 2 else "PENDING"
        return Answer(0, line(1, "0", state), "")

    fake = Fake(monkeypatch, answers)
    wait([reference("1", [0])])
    times = fake.of("squeue")
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) > 2 * gaps[0]
    assert len(times) < 15


def test_queries_name_jobs_and_no_users(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, lambda _: Answer(0, line(1, "0", "COMPLETED"), ""))
    wait([reference("1", [0])])
    arguments = fake.calls[0][1]
    assert "--jobs=1" in arguments and not any("user" in a or a == "--me" for a in arguments)


def test_the_end_of_a_failed_index_is_asked_of_sacct_once_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    def answers(arguments: Sequence[str]) -> Answer:
        nonlocal asked
        if arguments[0] == "squeue":
            return Answer(0, line(1, "0", "FAILED", "NonZeroExitCode"), "")
        asked += 1  # it lags: at first it still runs there
        state = "RUNNING" if asked < 3 else "FAILED"
        return Answer(0, f"1_0|{state}|75:0|5|n1|None", "")

    Fake(monkeypatch, answers)
    assert wait([reference("1", [0])]).jobs["1"][0].exit_code == 75
    assert asked == 3


@pytest.mark.parametrize("sacct", ["disabled", "down"])
def test_without_accounting_slurmctld_tells_the_end(
    monkeypatch: pytest.MonkeyPatch, sacct: str
) -> None:
    def answers(arguments: Sequence[str]) -> Answer:
        if arguments[0] == "squeue":
            return Answer(0, line(1, "0", "FAILED", "NonZeroExitCode"), "")
        if arguments[0] == "sacct" and sacct == "down":
            raise BusyError("sacct: Connection refused")
        if arguments[0] == "sacct":
            return Answer(1, "", "Slurm accounting storage is disabled\n")
        text = "JobId=1 ArrayJobId=1 ArrayTaskId=0 JobState=FAILED ExitCode=78:0 NodeList=n1"
        return Answer(0, text, "")

    fake = Fake(monkeypatch, answers)
    assert wait([reference("1", [0])]).jobs["1"][0].exit_code == 78
    of_slurmctld = sorted([*fake.of("squeue"), *fake.of("scontrol")])
    gaps = itertools.pairwise(of_slurmctld)
    assert all(b - a >= 0.09 for a, b in gaps)


def test_a_job_that_nobody_knows_is_gone_after_the_grace_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answers(arguments: Sequence[str]) -> Answer:
        if arguments[0] == "squeue":
            return Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
        return Answer(0, "", "")

    Fake(monkeypatch, answers)
    began = time.monotonic()
    assert wait([reference("1", [0, 1])]).jobs["1"][1] == GONE
    assert time.monotonic() - began >= FAST.grace_s


def test_a_node_failure_that_slurm_requeues_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["NODE_FAIL", "PENDING", "RUNNING", "COMPLETED"])
    Fake(monkeypatch, lambda _: Answer(0, line(1, "0", next(states, "COMPLETED")), ""))
    assert wait([reference("1", [0])]).jobs["1"][0].word == "COMPLETED"


def test_silence_is_a_warning_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def answers(_: Sequence[str]) -> Answer:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise BusyError("squeue: Unable to contact slurm controller")
        return Answer(0, line(1, "0", "COMPLETED"), "")

    Fake(monkeypatch, answers)
    warnings: list[str] = []
    found = wait([reference("1", [0])], on_snapshot=lambda s: warnings.append(s.warning))
    assert found.is_ready and warnings[-1] == ""
    assert warnings[0] == (
        "squeue: Unable to contact slurm controller; jobs continue, and are watched again later"
    )


def test_silence_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(_: Sequence[str]) -> Answer:
        raise BusyError("squeue: Unable to contact slurm controller")

    Fake(monkeypatch, answers)
    with pytest.raises(BusyError, match="Unable to contact"):
        wait([reference("1", [0])])


def test_more_than_half_failed_is_told_before_the_rest_has_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answers(arguments: Sequence[str]) -> Answer:
        if arguments[0] == "squeue":
            return Answer(0, f"{line(1, '0-5', 'FAILED')}\n{line(1, '6-9', 'PENDING')}", "")
        return Answer(0, "\n".join(f"1_{i}|FAILED|1:0|1|n1|None" for i in range(6)), "")

    Fake(monkeypatch, answers)
    found = wait([reference("1", range(10))])
    assert found.count(lambda t: t.is_over) == 6


def test_the_poller_ends_with_its_last_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, lambda _: Answer(0, line(1, "0", "RUNNING"), ""))

    async def watch_and_leave() -> tuple[int, int]:
        async with watching(SlurmCluster(Slurm()), [reference("1", [0])], FAST) as first:
            async with watching(SlurmCluster(Slurm()), [reference("1", [0])], FAST) as second:
                await second.next()
            await first.next()
        asked = len(fake.calls)
        await asyncio.sleep(0.6)
        return asked, len(fake.calls)

    before, after = asyncio.run(watch_and_leave())
    assert before == after


def test_a_deadline_returns_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, lambda _: Answer(0, line(1, "0", "PENDING", "BadConstraints"), ""))
    found = wait([reference("1", [0])], deadline_s=0.5)
    assert not found.is_ready and found.stuck == {"1": "BadConstraints"}
