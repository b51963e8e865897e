"""Workers that are forked from a template are processes like those that start anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from magneton_tasks.base.worker_env import DIE_WITH_PARENT
from magneton_tasks.cli.template import require_one_thread
from magneton_tasks.runners import local
from magneton_tasks.runners.command import PROGRAM, stage_command, template_command
from magneton_tasks.runners.template import Forked, Template
from magneton_tasks.work.events import EVENTS_VARIABLE
from magneton_tasks.work.paths import AttemptPaths
from tests.helpers import warm
from tests.helpers.told import Sentences

pytestmark = [
    pytest.mark.usefixtures("warm"),
    pytest.mark.skipif(sys.platform != "linux", reason="the template is Linux's"),
]


@pytest.fixture
def ours() -> Iterator[Template]:
    with Template(template_command("exact")) as made:
        yield made


class Held:
    """An attempt whose stages begin, and then read its plan as long as the test goes on."""

    def __init__(self, attempt: Path) -> None:
        self.attempt = attempt
        self.writer: int | None = None
        attempt.mkdir(parents=True)
        os.mkfifo(attempt / "plan.json")

    def command(self) -> list[str]:
        return stage_command("segment", self.attempt, 0)

    def until_read(self, is_there: Callable[[], bool]) -> None:
        """Until a process reads the plan."""
        while self.writer is None:
            with suppress(OSError):
                self.writer = os.open(self.attempt / "plan.json", os.O_WRONLY | os.O_NONBLOCK)
                return
            assert is_there()
            time.sleep(0.01)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    made = Held(tmp_path / "runs" / "held" / "1")
    yield made
    if made.writer is not None:
        os.close(made.writer)


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, DIE_WITH_PARENT: str(os.getpid()), **more}


def fork(template: Template, command: list[str], **more: str) -> Forked:
    said: list[str] = []
    made = template.fork(command, environ(**more), said.append)
    assert made is not None, said
    return made


def command_of(pid: int) -> str:
    """The command line of a process, as others see it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0").decode()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, whoever still has to ask for its exit code."""
    try:
        return "zombie" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("events", ["", "1"])
def test_what_it_says_and_its_exit_code_are_those_of_a_process_that_starts_anew(
    ours: Template, tmp_path: Path, events: str
) -> None:
    """Of a template with another environment: events are told only to who asks for them."""
    command = stage_command("segment", tmp_path / "no" / "where", 3)
    anew = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ(**{EVENTS_VARIABLE: events}),
        check=False,
    )
    forked = fork(ours, command, **{EVENTS_VARIABLE: events})
    assert forked.stdout.read() == anew.stdout != b""
    assert forked.wait() == anew.returncode == 66
    forked.stdout.close()


def test_it_is_a_child_in_a_session_of_its_own_with_its_own_command(
    ours: Template, held: Held
) -> None:
    command = held.command()
    worker = fork(ours, command)
    held.until_read(lambda: worker.poll() is None)
    proc = Path(f"/proc/{worker.pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    assert int(status["PPid"]) == os.getpid()
    assert int(status["Threads"]) == 1
    assert os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid
    assert command_of(worker.pid) == " ".join(command)
    open_files = {int(fd.name): os.readlink(fd) for fd in (proc / "fd").iterdir()}
    assert open_files.pop(0) == os.devnull
    assert (
        open_files.pop(1)
        == open_files.pop(2)
        == f"pipe:[{os.fstat(worker.stdout.fileno()).st_ino}]"
    )
    assert set(open_files.values()) <= {str(held.attempt / "plan.json")}
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0)
    os.killpg(worker.pid, signal.SIGKILL)
    assert worker.wait(60) == worker.poll() == -signal.SIGKILL
    worker.stdout.close()


def test_sigterm_ends_it_as_a_temporary_failure(ours: Template, held: Held) -> None:
    worker = fork(ours, held.command())
    held.until_read(lambda: worker.poll() is None)
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait() == 75
    assert b"SIGTERM" in worker.stdout.read()
    worker.stdout.close()


def test_workers_outlive_a_template_that_is_killed_and_the_next_ones_start_anew(
    ours: Template, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = fork(ours, held.command())
    held.until_read(lambda: worker.poll() is None)
    os.kill(ours.pid, signal.SIGKILL)
    monkeypatch.setattr(local, "stage_command", lambda *_: ["echo", "anew"])
    lines = Sentences()
    codes = local.run_stage(held.attempt, "segment", 2, 1, lines.take, template=ours)
    assert codes == {0: 0, 1: 0}
    why = "workers no longer start warm, but anew: their template was ended by SIGKILL"
    assert lines == [why, "anew", "anew"]
    assert AttemptPaths(held.attempt).log("segment", 0).read_text() == f"{why}\nanew\n"
    assert worker.poll() is None
    os.killpg(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    worker.stdout.close()


def test_why_a_template_can_t_begin_is_said(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "stage_command", lambda *_: ["echo", "anew"])
    lines = Sentences()
    with Template(
        [sys.executable, "-S", "-c", "import sys; sys.exit('no such library')"]
    ) as broken:
        local.run_stage(held.attempt, "segment", 1, 1, lines.take, template=broken)
    why = "workers no longer start warm, but anew: their template ended with 1: no such library"
    assert lines == [why, "anew"]


def test_ctrl_c_doesn_t_wait_for_a_template_that_doesn_t_answer(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "stage_command", lambda *_: ["echo", "anew"])
    code = "import os, signal; os.read(0, 16); os.kill(os.getppid(), signal.SIGINT); signal.pause()"
    lines = Sentences()
    with (
        Template([sys.executable, "-S", "-c", code]) as silent,
        pytest.raises(KeyboardInterrupt),
    ):
        local.run_stage(held.attempt, "segment", 2, 2, lines.take, template=silent)
    assert not any("warm" in line for line in lines)


def test_a_process_that_nobody_could_end_does_nothing(
    ours: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux doesn't hand it over: the run starts another in its place."""
    forked: list[int] = []

    def is_none_of_ours(_: int, pid: int, __: int) -> None:
        forked.append(pid)
        raise ChildProcessError

    said: list[str] = []
    command = [*PROGRAM, "config", "new", str(tmp_path / "volume.yaml"), "--input", "file:///in"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "waitid", is_none_of_ours)
        assert ours.fork(command, environ(), said.append) is None
    assert len(said) == 1 and ours.fork(command, environ(), said.append) is None
    (pid,) = forked
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not (tmp_path / "volume.yaml").exists()


#: imports the stages of both methods, then is the template of one
_BOTH = (
    "import sys; from magneton_tasks.cli import template as t; t.import_stages('overlap');"
    "sys.argv[1:] = ['exact']; t.main()"
)


def test_template_and_workers_end_with_a_run_that_is_killed(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that was really started: no library has left a thread in it."""

    def run() -> None:
        template = Template([sys.executable, "-c", _BOTH])

        def tell(workers: Sequence[int]) -> None:
            os.write(told, f"{template.pid} {workers[0]}".encode())

        local.run_stage(held.attempt, "segment", 1, 1, lambda _: None, tell, template=template)

    monkeypatch.setattr(subprocess, "Popen", warm._real_popen)
    tells, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(1)
    os.close(told)
    with os.fdopen(tells, "rb", buffering=0) as pipe:
        template, worker = map(int, pipe.read(64).split())
    held.until_read(lambda: os.waitpid(pid, os.WNOHANG) == (0, 0))
    assert os.listdir(f"/proc/{template}/task") == [str(template)]
    assert command_of(worker) == " ".join(held.command())
    programs = {Path(f"/proc/{p}/comm").read_text() for p in (template, worker)}
    assert len(programs) == 1, programs
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while not (is_gone(template) and is_gone(worker)):
        time.sleep(0.01)  # would go on for ever if they lived


def test_a_template_with_threads_forks_nothing() -> None:
    is_over = threading.Event()
    thread = threading.Thread(target=is_over.wait)
    thread.start()
    try:
        with pytest.raises(SystemExit, match="it has threads: "):
            require_one_thread()
    finally:
        is_over.set()
        thread.join()
