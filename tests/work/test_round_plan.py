"""Plans of rounds: made once, taken over by all attempts, never seen half written."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base import files
from magneton_tasks.errors import NotVisibleError, OutputError
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.work.round_plan import RoundPlan, chain, make, take_over
from tests.helpers.lagging import fake_clock, hide_new_files
from tests.helpers.volumes import in_fork, kill_at

FIRST = RoundPlan(
    round=0,
    groups=Groups.of_span((8, 8, 4), (2, 2, 2)),
    fine=Groups.of_span((8, 8, 4), (2, 2, 2)),
    todo=[(0, 30), (31, 32)],
    budget=1_000_000,
    most_rows=9_000,
    all_rows=200_000,
    read="faces",
)


def after(plan: RoundPlan, read: str = "round 0", **other: Any) -> RoundPlan:
    return replace(
        plan,
        round=plan.round + 1,
        groups=Groups.of_span((8, 8, 4), (4, 4, 4)),
        todo=[(0, 4)],
        read=read,
        before=plan.digest,
        **other,
    )


def names(rounds: Path, number: int = 0) -> list[str]:
    return sorted(os.listdir(rounds / str(number)))


def test_a_plan_comes_back(tmp_path: Path) -> None:
    assert take_over(tmp_path, 0, "faces", "") is None
    assert make(tmp_path, FIRST) == FIRST
    assert take_over(tmp_path, 0, "faces", "") == FIRST
    assert len(FIRST.groups) == 32
    assert not FIRST.closes_all
    assert replace(FIRST, groups=Groups(((0, 8), (0, 8), (0, 4)))).closes_all


def test_with_other_memory_the_plan_is_taken_over_and_the_file_not_changed(tmp_path: Path) -> None:
    make(tmp_path, FIRST)
    (file,) = (tmp_path / "0").iterdir()
    content = file.read_bytes()
    halved = replace(
        FIRST, budget=500_000, groups=Groups.of_span((8, 8, 4), (2, 2, 1)), todo=[(0, 64)]
    )
    assert make(tmp_path, halved) == FIRST
    assert take_over(tmp_path, 0, "faces", "") == FIRST
    assert [file] == list((tmp_path / "0").iterdir())
    assert file.read_bytes() == content


def test_other_records_make_another_plan_beside_it(tmp_path: Path) -> None:
    make(tmp_path, FIRST)
    other = replace(FIRST, read="faces of a changed block", todo=[(0, 32)])
    assert take_over(tmp_path, 0, other.read, "") is None
    assert make(tmp_path, other) == other
    assert len(names(tmp_path)) == 2
    assert take_over(tmp_path, 0, "faces", "") == FIRST


def test_a_plan_after_another_plan_of_the_round_before_is_another(tmp_path: Path) -> None:
    one, other = make(tmp_path, FIRST), make(tmp_path, replace(FIRST, read="changed"))
    assert make(tmp_path, after(one)).before == one.digest
    assert make(tmp_path, after(other)).before == other.digest
    assert len(names(tmp_path, 1)) == 2


def test_the_digest_is_of_what_decides_the_rounds_results() -> None:
    same = replace(FIRST, budget=7, most_rows=8, all_rows=9)
    assert same.digest == FIRST.digest
    others = [
        replace(FIRST, round=1),
        replace(FIRST, groups=Groups.of_span((8, 8, 5), (2, 2, 2))),
        replace(FIRST, groups=Groups(((0, 3, 4, 6, 8), *FIRST.groups.cuts[1:]))),
        replace(FIRST, fine=Groups.of_span((8, 8, 4), (1, 1, 1))),
        replace(FIRST, todo=[(0, 32)]),
        replace(FIRST, read="x"),
        replace(FIRST, before="x"),
    ]
    assert len({plan.digest for plan in [FIRST, *others]}) == 8


def racing(rounds: Path, seed: int, report: int, go: int) -> None:
    """Make a plan with a budget of its own as soon as ``go`` is closed, and tell which one holds."""
    os.read(go, 1)
    held = make(rounds, replace(FIRST, budget=seed, most_rows=seed))
    os.write(report, f"{held.budget}\n".encode())


def test_of_several_at_once_one_wins_and_all_have_its_plan(tmp_path: Path) -> None:
    for attempt in range(5):
        rounds = tmp_path / str(attempt)
        (told, report), (go, start) = os.pipe(), os.pipe()
        pids = []
        for seed in range(1, 7):
            pid = os.fork()
            if pid == 0:
                os.close(start)
                try:
                    racing(rounds, seed, report, go)
                finally:
                    os._exit(0)
            pids.append(pid)
        os.close(start)
        for pid in pids:
            os.waitpid(pid, 0)
        os.close(report)
        with os.fdopen(told) as held:
            budgets = held.read().split()
        os.close(go)
        assert len(budgets) == 6
        assert len(set(budgets)) == 1
        assert len(names(rounds)) == 1


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "link"])
def test_killed_while_making_it_nobody_sees_a_half_one(tmp_path: Path, call: str) -> None:
    def killed() -> None:
        kill_at(1, call)
        make(tmp_path, FIRST)

    assert in_fork(killed) == -signal.SIGKILL
    assert files.listdir(tmp_path / "0") == []  # without temporaries
    assert chain(tmp_path) == []
    assert make(tmp_path, replace(FIRST, budget=3)).budget == 3


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_all", full)
    with pytest.raises(OutputError, match="free space"):
        make(tmp_path, FIRST)
    monkeypatch.undo()
    assert names(tmp_path) == []


def no_links(_: Path, __: Path) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_without_hard_links_one_wins_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links)
    assert make(tmp_path, FIRST) == FIRST
    assert make(tmp_path, replace(FIRST, budget=2)) == FIRST
    assert len(names(tmp_path)) == 1


def test_a_plan_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    """As it may be where there are no hard links."""
    make(tmp_path, FIRST)
    (file,) = (tmp_path / "0").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:40])
    with fake_clock() as clock:
        real, looks = clock.sleep, 0

        def sleep(seconds: float) -> None:
            nonlocal looks
            looks += 1
            real(seconds)
            if looks == 2:
                file.write_bytes(content)

        files.sleep = sleep
        assert make(tmp_path, replace(FIRST, budget=2)) == FIRST
    assert looks == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[:40],
        lambda _: b"",
        lambda c: c.replace(b"[0, 2, 4]", b"[0, 3, 4]"),
        lambda _: b"{}",
    ],
)
def test_a_damaged_plan_is_moved_aside_and_made_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, FIRST)
    (file,) = (tmp_path / "0").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert chain(tmp_path) == []
    other = replace(FIRST, budget=2)
    with fake_clock():
        assert make(tmp_path, other) == other
    assert files.MOVED_ASIDE in capsys.readouterr().out
    assert len(names(tmp_path)) == 2
    assert chain(tmp_path) == [other]


# ------------------------------------------------------------------ all rounds
def test_the_chain_is_as_long_as_rounds_are_planned(tmp_path: Path) -> None:
    assert chain(tmp_path / "none") == []
    plans = [make(tmp_path, FIRST)]
    assert chain(tmp_path) == plans
    for number in range(1, 12):  # 10 comes after 9
        plans.append(make(tmp_path, after(plans[-1], read=f"round {number}")))
    assert chain(tmp_path) == plans
    assert chain(tmp_path, plans[5].digest) == plans[:6]


def test_the_chain_is_of_the_plans_in_use_whichever_were_made_first(tmp_path: Path) -> None:
    old = [make(tmp_path, FIRST)]
    old.append(make(tmp_path, after(old[0])))
    new = make(tmp_path, replace(FIRST, read="changed"))
    for number, path in enumerate(sorted((tmp_path / "0").iterdir(), key=os.path.getctime)):
        os.utime(path, (number, number))
    assert chain(tmp_path) == [new]
    assert chain(tmp_path, old[1].digest) == old
    assert take_over(tmp_path, 0, "faces", "") == old[0]  # the block is as it was before
    assert chain(tmp_path) == old


def test_a_plan_that_shows_up_late_is_waited_for(tmp_path: Path) -> None:
    with hide_new_files(60, tmp_path) as disk:
        make(tmp_path, FIRST)
        last = make(tmp_path, after(FIRST))
        assert chain(tmp_path, last.digest, wait_s=120) == [FIRST, last]
        assert disk.hidden_asks


def test_a_plan_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    last = make(tmp_path, after(FIRST))  # that of round 0 isn't there
    with pytest.raises(NotVisibleError, match="run pool again"):
        chain(tmp_path, last.digest)
    assert chain(tmp_path) == []
