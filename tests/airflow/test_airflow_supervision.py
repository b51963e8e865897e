"""The supervisor of Airflow's services, on programs that only look like them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from magneton_tasks.airflow.service import processes
from magneton_tasks.airflow.service.services import FIRST, Services
from magneton_tasks.airflow.service.supervision import SUPERVISOR, Supervision
from magneton_tasks.errors import OutputError

ROOT = Path(__file__).resolve().parents[2]
# It goes on when what started it is forgotten.
pytestmark = [
    pytest.mark.filterwarnings("ignore:subprocess .* is still running"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_NOTED = """
import os, time
from pathlib import Path
from magneton_tasks.airflow.service.supervision import Supervision
Supervision(Path.cwd()).began({name!r}, os.getpid())
print("its own words", flush=True)
{rest}
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """With blanks, and signs that supervisord reads as its own."""
    made = tmp_path / "100%(here)s of it"
    made.mkdir()
    yield made
    processes.end(made, processes.of_home(made), 0)


def start(home: Path, **programs: str) -> Supervision:
    made, commands = Supervision(home), {}
    for name, rest in programs.items():
        program = home / f"{name}.py"
        program.write_text(_NOTED.format(name=name, rest=rest))
        commands[name] = [sys.executable, str(program)]
    made.start(commands, dict(os.environ))
    return made


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_killed_is_started_again_and_the_others_go_on(home: Path) -> None:
    supervision = start(home, scheduler="time.sleep(60)", triggerer="time.sleep(60)")
    wait_until(lambda: set(supervision.running()) == {"scheduler", "triggerer"})
    before = supervision.running()
    assert len({os.getpgid(p.pid) for p in before.values()}) == 2
    before["scheduler"].kill()
    wait_until(lambda: supervision.starts("scheduler") == 2)
    after = supervision.running()
    assert after["scheduler"] != before["scheduler"]
    assert after["triggerer"] == before["triggerer"]
    assert "its own words" in supervision.log("scheduler").read_text()


def test_what_ends_at_once_is_tried_again_after_a_growing_pause(home: Path) -> None:
    supervision = start(home, scheduler="")
    times: list[float] = []
    for number in range(1, 5):
        wait_until(lambda number=number: supervision.starts("scheduler") >= number)  # type: ignore[misc]
        times.append(time.monotonic())
    assert times[3] - times[2] > 2.5, "the third pause is 3 s long"


def test_make_up_says_which_service_ends_whenever_it_is_started(home: Path) -> None:
    start(home, **{FIRST: "", "scheduler": "time.sleep(60)"})
    services = Services(home, ROOT)
    with pytest.raises(OutputError, match=r"api-server ends whenever.*api-server\.log"):
        services._wait("it answers", lambda: False)


def test_make_up_says_that_the_supervisor_ended(home: Path) -> None:
    supervision = start(home, scheduler="time.sleep(60)")
    supervisor = supervision.supervisor()
    assert supervisor is not None
    supervisor.kill()
    supervisor.wait()
    with pytest.raises(OutputError, match=r"supervisor ended; see .*supervisor\.log"):
        Services(home, ROOT)._wait("it answers", lambda: False)


def test_health_tells_of_a_killed_supervisor_and_down_ends_what_it_left(home: Path) -> None:
    supervision = start(home, **{FIRST: "time.sleep(60)"})
    wait_until(lambda: FIRST in supervision.running())
    services = Services(home, ROOT)
    services.state_file.write_text('{"ports": {"api": 1}}')
    supervisor = supervision.supervisor()
    assert supervisor is not None
    supervisor.kill()
    supervisor.wait()
    problems = services.problems()
    assert "the supervisor isn't running" in problems[0]
    assert "scheduler isn't running" in "".join(problems)
    (left,) = supervision.running().values()
    assert services.stop(lambda text: None)
    assert not psutil.pid_exists(left.pid) or left.status() == psutil.STATUS_ZOMBIE
    assert not services.is_up()


def test_the_supervisor_is_of_the_home_too(home: Path) -> None:
    supervision = start(home, scheduler="time.sleep(60)")
    wait_until(lambda: bool(supervision.running()))
    found = processes.of_home(home)
    assert {supervision.supervisor(), *supervision.running().values()} <= found
    assert SUPERVISOR not in supervision.running()
