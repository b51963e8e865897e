"""The local runner, with stand-ins for the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.runners import local, resources, this_machine
from magneton_tasks.work.events import Event, Note, Text
from magneton_tasks.work.paths import AttemptPaths
from tests.helpers.told import Sentences, result

#: a worker: argv is batch and attempt directory
Worker = Callable[[str], None]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Makes a piece of Python stand for `magneton STAGE`; it knows ``batch`` and ``attempt``."""

    def stand_in(code: str) -> None:
        head = "import os, sys, time, pathlib; batch, attempt = sys.argv[1], pathlib.Path(sys.argv[2])\n"

        def command(stage: str, attempt: Path, batch: int | None, part: Any = None) -> list[str]:
            return [sys.executable, "-S", "-c", head + code, str(batch), str(attempt)]

        monkeypatch.setattr(local, "stage_command", command)

    return stand_in


def test_each_batch_runs_once_and_its_lines_are_passed_on_and_logged(
    worker: Worker, tmp_path: Path
) -> None:
    worker(
        "print('out of', batch); print('err of', batch, file=sys.stderr); sys.stdout.write('no newline')"
    )
    lines = Sentences()
    codes = local.run_stage(tmp_path, "segment", 3, 2, lines.take)
    assert codes == {0: 0, 1: 0, 2: 0}
    assert sorted(line for line in lines if line.startswith("out")) == [
        f"out of {k}" for k in range(3)
    ]
    assert lines.count("no newline") == 3
    for k in range(3):
        log = AttemptPaths(tmp_path).log("segment", k).read_text()
        assert f"out of {k}\n" in log
        assert f"err of {k}\n" in log
        assert log.endswith("no newline")


def test_a_stage_that_isn_t_mapped_runs_once(worker: Worker, tmp_path: Path) -> None:
    worker("print(batch)")
    lines = Sentences()
    assert local.run_stage(tmp_path, "pool", None, 4, lines.take) == {None: 0}
    assert lines == ["None"]


def test_never_more_workers_than_asked_for(worker: Worker, tmp_path: Path) -> None:
    """Each leaves a file while it works, and counts those of the others."""
    worker(
        "own = attempt / ('working-' + batch); own.touch(); time.sleep(1);"
        "print('at once', len(list(attempt.glob('working-*')))); own.unlink()"
    )
    lines = Sentences()
    local.run_stage(tmp_path, "segment", 6, 2, lines.take)
    assert max(int(line.split()[-1]) for line in lines) == 2


@pytest.mark.parametrize(
    ("end", "code", "tries"),
    [
        ("sys.exit(65)", 65, 1),  # a retry won't help
        ("sys.exit(74)", 74, 1),  # the disk is as full as it was
        ("sys.exit(75)", 75, 2),
        ("os.kill(os.getpid(), 9)", -9, 2),
    ],
)
def test_a_batch_is_tried_again_where_that_may_help(
    end: str, code: int, tries: int, worker: Worker, tmp_path: Path
) -> None:
    worker(f"print('try of', batch, flush=True)\nif batch == '1': {end}")
    lines = Sentences()
    assert local.run_stage(tmp_path, "segment", 3, 1, lines.take) == {0: 0, 1: code, 2: 0}
    assert lines.count("try of 1") == tries
    assert lines.count("try of 0") == lines.count("try of 2") == 1


def test_a_second_try_that_works_counts(worker: Worker, tmp_path: Path) -> None:
    worker(
        "mark = attempt / 'tried'; first = not mark.exists(); mark.touch(); sys.exit(75 * first)"
    )
    assert local.run_stage(tmp_path, "count", 1, 1, lambda _: None) == {0: 0}


#: what a worker prints whose block ran out of memory
OUT = f"print({result(failures=[{'key': 7, 'out_of_memory': True}])!r}, flush=True); sys.exit(75)"
#: leaves a file while it works, and tells of the others and of what it may take
BESIDE = (
    "own = attempt / ('working-' + batch); own.touch(); time.sleep(1)\n"
    "beside = len(list(attempt.glob('working-*'))) - 1; own.unlink()\n"
    "allowed = os.environ.get('MAGNETON_MEMORY_BYTES')\n"
    "print('try', batch, 'beside', beside, 'allowed', allowed, flush=True)\n"
)


def test_tries_are_counted_by_cause(worker: Worker, tmp_path: Path) -> None:
    """A batch that ran out of memory still has the second try of one that a signal ended."""
    worker(
        "n = len(list(attempt.glob('try-*'))); (attempt / f'try-{n}').touch()\n"
        f"if n == 0:\n    {OUT}\nif n == 1: sys.exit(75)"
    )
    assert local.run_stage(tmp_path, "count", 1, 1, lambda _: None) == {0: 0}


@pytest.mark.parametrize("end", [OUT, "os.kill(os.getpid(), 9)"])
def test_what_ran_out_of_memory_is_tried_again_alone_with_all_there_is(
    end: str, worker: Worker, tmp_path: Path
) -> None:
    worker(f"{BESIDE}if batch in '02' and allowed is None:\n    {end}")
    lines = Sentences()
    codes = local.run_stage(tmp_path, "join1", 6, 3, lines.take, alone_bytes=5 * 2**30)
    assert codes == dict.fromkeys(range(6), 0)
    tries = [line.split() for line in lines if line.startswith("try ")]
    assert sorted(t[1] for t in tries) == ["0", "0", "1", "2", "2", "3", "4", "5"]
    assert any(t[3] != "0" for t in tries[:6])  # several at once, at first
    again = [["try", b, "beside", "0", "allowed", str(5 * 2**30)] for b in ("0", "2")]
    assert sorted(tries[6:]) == again
    assert sum("ran out of memory" in li and "alone with 5.0 GiB" in li for li in lines) == 2


def test_what_all_memory_is_too_little_for_is_no_temporary_failure(
    worker: Worker, tmp_path: Path
) -> None:
    worker(f"print('try', batch, flush=True)\nif batch == '1':\n    {OUT}")
    lines = Sentences()
    codes = local.run_stage(tmp_path, "join1", 3, 1, lines.take, alone_bytes=2**30)
    assert codes == {0: 0, 1: 78, 2: 0}
    assert [line for line in lines if line.startswith("try")].count("try 1") == 2
    assert "join1: batch 1 ran out of memory, alone with 1.0 GiB: no more is available" in lines


def test_workers_end_with_the_runner(worker: Worker, tmp_path: Path) -> None:
    """Ctrl-C, or an error of ours: nobody works on."""
    worker(
        "(attempt / ('pid-' + batch)).write_text(str(os.getpid())); print('ready', flush=True); time.sleep(600)"
    )
    ready = 0

    def on_event(_: object) -> None:
        nonlocal ready
        ready += 1
        if ready == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.run_stage(tmp_path, "segment", 2, 2, on_event)
    for k in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"pid-{k}").read_text()), 0)


def test_a_worker_that_ignores_sigterm_is_killed(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE_S", 0.2)
    worker(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "(attempt / 'pid').write_text(str(os.getpid())); print('ready', flush=True); time.sleep(600)"
    )

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.run_stage(tmp_path, "segment", 1, 1, stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_ctrl_c_lets_workers_end_by_themselves(worker: Worker, tmp_path: Path) -> None:
    worker(
        "import signal\n"
        "def end(*_): (attempt / ('ended-' + batch)).touch(); sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    )
    before, lines = signal.getsignal(signal.SIGINT), Sentences()

    def on_event(event: Event) -> None:
        lines.take(event)
        if event == Text("ready") and lines.count("ready") == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        local.run_stage(tmp_path, "segment", 5, 2, on_event)
    assert sorted(p.name for p in tmp_path.glob("ended-*")) == ["ended-0", "ended-1"]
    assert not any("trying again" in line for line in lines)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_leaves_no_worker(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cuts the wait short and kills; it doesn't cut off the killing."""
    monkeypatch.setattr(local, "GRACE_S", 600)
    worker(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "(attempt / 'pid').write_text(str(os.getpid())); print('ready', flush=True); time.sleep(600)"
    )

    def on_event(event: Event) -> None:
        if event == Text("ready"):
            signal.raise_signal(signal.SIGINT)
        elif isinstance(event, Note) and event.level == "stopping":
            assert "stopping 1 worker" in event.text
            threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        local.run_stage(tmp_path, "segment", 1, 1, on_event)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_ctrl_c_at_the_start_of_a_worker_leaves_no_worker(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker("time.sleep(600)")
    started = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)  # before anybody knows of it

    monkeypatch.setattr("magneton_tasks.runners.local.subprocess.Popen", Popen)
    with pytest.raises(KeyboardInterrupt):
        local.run_stage(tmp_path, "segment", 3, 2, lambda _: None)
    assert [p.poll() for p in started] == [-signal.SIGTERM]


def test_whoever_watches_is_told_which_workers_run(worker: Worker, tmp_path: Path) -> None:
    worker("time.sleep(.1)")
    seen: list[int] = []
    local.run_stage(tmp_path, "segment", 4, 2, lambda _: None, lambda pids: seen.append(len(pids)))
    assert set(seen) <= {0, 1, 2}
    assert seen[0] == 2


def test_workers_die_with_a_runner_that_is_killed(worker: Worker, tmp_path: Path) -> None:
    worker(
        "from magneton_tasks.base.worker_env import die_with_parent; die_with_parent()\n"
        "(attempt / 'pid').write_text(str(os.getpid())); time.sleep(600)"
    )
    pid = os.fork()
    if pid == 0:
        setattr(local, "stage_command", _with_site(vars(local)["stage_command"]))  # noqa: B010
        local.run_stage(tmp_path, "segment", 1, 1, lambda _: None)
        os._exit(1)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the runner ended before its worker began"
        time.sleep(0.02)
    child = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while (
        Path(f"/proc/{child}").exists()
        and "zombie" not in Path(f"/proc/{child}/status").read_text()
    ):
        time.sleep(0.02)  # would go on for ever if it lived


def _with_site(command: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """The stand-ins start without site-packages; this one needs them."""
    return lambda *args: [part for part in command(*args) if part != "-S"]


def test_as_many_workers_as_memory_and_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this_machine, "cores", lambda: 8)
    gib = 2**30
    assert resources.workers(2 * gib, 10 * gib) == 4  # a tenth is left to the system
    assert resources.workers(gib // 2, 64 * gib) == 8
    assert (
        resources.workers(100 * gib, 10 * gib) == 1
    )  # plan has refused it before, or was told to try
