"""`make down`, and two at once, on processes that only look like Airflow's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from magneton_tasks.airflow.service import processes
from magneton_tasks.airflow.service import services as services_module
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.airflow.service.supervision import SUPERVISOR
from magneton_tasks.airflow.service.turns import Turn
from magneton_tasks.errors import TemporaryError

ROOT = Path(__file__).resolve().parents[2]
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr(services_module, "STOP_WAIT_S", 2)
    return Services(tmp_path, ROOT)


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program, of the home unless ``home`` says another one; ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, home: Path | None = tmp_path) -> subprocess.Popen[str]:
        environ = {**os.environ, **(processes.mark(home) if home else {})}
        made = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(made)
        return made

    yield start
    for one in started:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


def note(services: Services, name: str, pid: int, began: float | None = None) -> None:
    """As a service does that starts."""
    folder = services.home / "services"
    folder.mkdir(exist_ok=True)
    if began is None:
        began = psutil.Process(pid).create_time()
    (folder / f"{name}.json").write_text(json.dumps({"pid": pid, "began": began, "starts": 1}))


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_recycled_process_id_is_never_touched(
    services: Services, python: Callable[..., subprocess.Popen[str]]
) -> None:
    process = python(SLEEP, home=None)
    note(services, "scheduler", process.pid, time.time() - 3600)
    assert services.running() == {}
    assert not services.stop(lambda text: None)
    assert process.poll() is None


def test_down_ends_a_service_that_ignores_it_and_all_below(
    services: Services, python: Callable[..., subprocess.Popen[str]]
) -> None:
    """A service that ignores SIGTERM, and a task of it in a session of its own."""
    service = python(f"""
        import signal, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True, env={{}})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(child.pid, flush=True)
        time.sleep(60)
        """)
    child = int(told(service))
    note(services, "scheduler", service.pid)
    assert list(services.running()) == ["scheduler"]
    assert services.stop(lambda text: None)
    assert services.running() == {}
    assert not lives(service.pid) and not lives(child)


def test_down_ends_what_killed_services_left(
    services: Services, python: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The service is gone, its state too; its task has a title of its own and another folder."""
    other = tmp_path / "other"
    other.mkdir()
    neighbour = python(SLEEP, home=other)
    service = python("""
        import subprocess, sys, time
        code = "import setproctitle, time; setproctitle.setproctitle('t' * 9999); print(1, flush=True); time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, cwd="/")
        print(child.pid, flush=True)
        time.sleep(60)
        """)
    child = int(told(service))
    assert told(service) == "1"
    service.kill()
    service.wait()
    said: list[str] = []
    assert services.stop(said.append)
    assert said == ["stopping what killed services left behind"]
    assert not lives(child)
    assert lives(neighbour.pid), "it is of another home"
    assert not services.stop(said.append)


def test_a_second_one_says_who_is_at_work_and_waits(
    services: Services, python: Callable[..., subprocess.Popen[str]]
) -> None:
    first = python(
        f"""
        import sys
        from pathlib import Path
        from magneton_tasks.airflow.service.turns import Turn
        with Turn(Path({str(services.home)!r}), "make up").taken(print):
            print("has it", flush=True)
            import time; time.sleep(60)
        """,
        home=None,
    )
    assert told(first) == "has it"
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        first.kill()  # its lock goes with it

    def start() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        services.start(tell, before=start)
    assert len(said) == 1
    assert f"`make up` (process {first.pid}, since " in said[0] and "waiting for it" in said[0]


def test_down_ends_a_make_up_that_hangs(
    services: Services, python: Callable[..., subprocess.Popen[str]]
) -> None:
    """Somebody pressed Ctrl-Z, say: it would go on starting things later."""
    hanging = python(
        f"""
        import time
        from pathlib import Path
        from magneton_tasks.airflow.service.turns import Turn
        with Turn(Path({str(services.home)!r}), "make up").taken(print):
            print("has it", flush=True)
            time.sleep(60)
        """,
        home=None,
    )
    assert told(hanging) == "has it"
    said: list[str] = []
    services.stop(said.append)
    assert hanging.wait() != 0
    assert any(f"ending `make up` (process {hanging.pid}" in line for line in said)


def test_make_up_gives_way_to_make_down(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has started is ended; it must not start more."""
    note(services, SUPERVISOR, os.getpid())
    down, leave = threading.Event(), threading.Event()

    def stop() -> None:
        with Turn(services.home, "make down").taken(lambda holder: None):
            down.set()
            leave.wait()

    thread = threading.Thread(target=stop)
    thread.start()
    down.wait()
    try:
        with pytest.raises(TemporaryError, match=r"`make down` \(process \d+.*stops Airflow"):
            services._wait("it answers", lambda: False)
    finally:
        leave.set()
        thread.join()


def test_a_turn_that_its_holder_lost_by_a_kill_is_free(tmp_path: Path) -> None:
    (tmp_path / "make-up.lock").write_text(json.dumps(["make up", 2**22 - 1, 0.0]))
    assert Turn(tmp_path, "make up").holder() is None
    with Turn(tmp_path, "make up").taken(lambda holder: pytest.fail(f"waits for {holder}")):
        holder = Turn(tmp_path, "make up").holder()
        assert holder is not None and holder.pid == os.getpid()
    assert Turn(tmp_path, "make up").holder() is None
