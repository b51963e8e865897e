"""How a command's end becomes a task's end; a few lines of Python stand for `magneton`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from magneton_tasks.airflow.operators.batches import batches
from magneton_tasks.airflow.operators.process import CommandOperator, StageOperator
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.work.events import Refused, Settled, Told, to_line
from tests.helpers.told import result


class Script(CommandOperator):
    """Runs Python code with arguments."""

    def __init__(self, *, code: str, arguments: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(task_id="script", **kwargs)
        self.code, self.arguments = code, arguments

    def command(self, context: Any) -> Sequence[str]:
        return [sys.executable, "-c", self.code, *self.arguments]


#: code that tells results of its own making
TELLING = """
import json, os, sys
def tell(**values): print('{"magneton": ' + json.dumps("Ended") + ', "result": ' + json.dumps(values) + "}")
"""


class Log:
    """Stands in for a task's log."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def info(self, text: str, *values: object) -> None:
        self._lines.append(text % values)

    def warning(self, text: str) -> None:
        """Airflow's own, of a task that no scheduler runs."""


def run(code: str, *arguments: str) -> Any:
    return Script(code=code, arguments=arguments).execute({})


def ending(**values: Any) -> str:
    """Code that tells a result."""
    return f"print({result(**values)!r})"


def test_a_command_s_result_is_the_task_s() -> None:
    assert run(f"print('block 1 of 2'); {ending(blocks=2)}") == {"blocks": 2}


@pytest.mark.parametrize("more", ["print()", "print('magneton: compiled {what} ...}')"])
def test_what_libraries_print_at_exit_does_no_harm(more: str) -> None:
    assert run(f"{ending(blocks=2)}; {more}") == {"blocks": 2}


def test_the_log_has_sentences_and_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a real command: its error, on two lines, and no line for a program."""
    logged: list[str] = []
    monkeypatch.setattr(Script, "log", Log(logged))
    done = Settled("segment", 4, "done", 1e9, 3.0, 2**29, 5, 100, "12 labels")
    with pytest.raises(AirflowFailException, match="error: no such input\n  what to do: mount it$"):
        run(
            f"import sys; print({to_line(done)!r}); print('a warning of a library')\n"
            f"print({to_line(Refused(66, 'no such input', 'mount it'))!r}); sys.exit(66)"
        )
    assert logged[1:] == [
        "segment block 4: done, 12 labels, 3.0 s, 512.0 MiB (5/100)",
        "a warning of a library",
        "error: no such input",
        "  what to do: mount it",
    ]


def test_no_result_is_a_bug_that_no_retry_mends() -> None:
    with pytest.raises(AirflowFailException, match="all done"):
        run("print('all done')")


@pytest.mark.parametrize(
    ("code", "retried"),
    [
        (64, False),  # usage
        (65, False),  # bad data
        (66, False),  # no input
        (70, False),  # a bug
        (78, False),  # config
        (74, True),  # I/O: somebody may have freed the disk
        (75, True),  # temporary
        (1, True),  # the interpreter itself was lost
        (137, True),  # a wrapper's word for: killed
    ],
)
def test_exit_code_decides_about_a_retry(code: int, retried: bool) -> None:
    with pytest.raises(AirflowException, match=f"ended with {code}\nblock 7 is torn") as failure:
        run(f"import sys; print('block 7 is torn'); sys.exit({code})")
    assert isinstance(failure.value, AirflowFailException) is not retried


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[str], Any]:
    """Runs Python code in place of a stage of an attempt; it knows what it is allowed."""
    (tmp_path / "config.yaml").write_text(
        "paths: {input: 'file:///a', output: 'file:///b', work: /c}\nlocal: {memory: 3GiB}\n"
    )
    head = "import os, sys; allowed = os.environ.get('MAGNETON_MEMORY_BYTES')\n"

    class Stage(StageOperator):
        def command(self, context: Any) -> Sequence[str]:
            return [sys.executable, "-c", head + self.params["code"]]

    def execute(code: str) -> Any:
        operator = Stage(task_id="round0", stage="round0", attempt=str(tmp_path))
        operator.params["code"] = code
        return operator.execute({})

    return execute


FAILURE = {"key": 0, "cause": "too much", "out_of_memory": True}
OUT = f"{ending(failures=[FAILURE])}; sys.exit(75)"


def test_a_stage_that_ran_out_of_memory_is_run_again_with_more(
    stage: Callable[[str], Any],
) -> None:
    given = ending(allowed=3 * 2**30)
    assert stage(f"if allowed is None:\n    {OUT}\nassert allowed == '{3 * 2**30}'\n{given}") == {
        "allowed": 3 * 2**30
    }


def test_a_stage_that_all_memory_is_too_little_for_fails_for_good(
    stage: Callable[[str], Any],
) -> None:
    with pytest.raises(AirflowFailException, match="ended with 78\n0: too much"):
        stage(OUT)


def test_killed_command_is_retried() -> None:
    with pytest.raises(AirflowException, match="killed by signal 9") as failure:
        run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert not isinstance(failure.value, AirflowFailException)


def test_errors_on_stderr_are_part_of_the_story() -> None:
    with pytest.raises(AirflowFailException, match="what to do: choose another"):
        run(
            "import sys; print('error: no\\n  what to do: choose another', file=sys.stderr); sys.exit(78)"
        )


def test_failed_blocks_are_named_with_cause_and_log() -> None:
    failures = [
        {"key": k, "cause": f"chunk {k} is torn", "hint": "copy it again", "log": f"/l/{k}"}
        for k in range(5)
    ]
    code = f"import sys; print('progress'); {ending(failures=failures)}; sys.exit(65)"
    with pytest.raises(AirflowFailException) as failure:
        run(code)
    told = str(failure.value).splitlines()[1:]
    assert told[:3] == ["0: chunk 0 is torn", "  what to do: copy it again", "  log: /l/0"]
    assert told[-1] == "and 2 more"


def test_failures_may_lack_hint_and_log() -> None:
    code = f"import sys; {ending(failures=[{'key': 4, 'cause': 'late'}])}; sys.exit(75)"
    with pytest.raises(AirflowException, match="4: late$"):
        run(code)


def test_arguments_never_become_shell_text(tmp_path: Path) -> None:
    evil = f"$(touch {tmp_path}/pwned); `touch {tmp_path}/pwned` && touch {tmp_path}/pwned #'\""
    assert run(TELLING + "tell(got=sys.argv[1])", evil) == {"got": evil}
    assert list(tmp_path.iterdir()) == []


def test_secrets_of_airflow_stay_with_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    airflows = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW_CONN_SMTP_DEFAULT", "DB", "MAKEFLAGS")
    for name in airflows:
        monkeypatch.setenv(name, "pa55")
    monkeypatch.setenv("MAGNETON_ROOTS", "/data")
    environ = run(TELLING + "tell(**os.environ)")
    assert not [k for k, v in environ.items() if k.startswith("AIRFLOW") or v == "pa55"]
    assert environ["MAGNETON_ROOTS"] == "/data"


def _wait_for(path: Path) -> str:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return path.read_text()


def _wait_until_known(operator: CommandOperator) -> None:
    """Wait for the process that starts a command to go on: on a busy machine the command may be quicker."""
    while operator._process is None:
        time.sleep(0.02)


def _ends(pid: int) -> None:
    """Wait for a process that was told to end; a busy machine may take its time."""
    until = time.monotonic() + 120
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, f"{pid} goes on"
            time.sleep(0.02)


CHILDREN = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
{prelude}
with open(sys.argv[1] + '.new', 'w') as f: f.write(f'{{os.getpid()}} {{child.pid}}')
os.rename(sys.argv[1] + '.new', sys.argv[1])
time.sleep(600)
"""


@pytest.mark.parametrize("prelude", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_kill_ends_the_command_and_its_children(tmp_path: Path, prelude: str) -> None:
    told = tmp_path / "pids"
    operator = Script(code=CHILDREN.format(prelude=prelude), arguments=[str(told)])
    caught: list[BaseException] = []

    def execute() -> None:
        try:
            operator.execute({})
        except AirflowException as error:
            caught.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    pids = [int(pid) for pid in _wait_for(told).split()]
    _wait_until_known(operator)
    operator.on_kill()
    thread.join()
    for pid in pids:
        _ends(pid)
    assert "killed by signal" in str(caught[0])
    assert not isinstance(caught[0], AirflowFailException)


def test_interrupt_ends_the_command(tmp_path: Path) -> None:
    """Ctrl-C in `make run`: the command has a process group of its own and would live on."""
    told = tmp_path / "pids"
    operator = Script(code=CHILDREN.format(prelude=""), arguments=[str(told)])

    def interrupt() -> None:
        _wait_for(told)
        _wait_until_known(operator)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        operator.execute({})
    parent, _ = (int(pid) for pid in told.read_text().split())
    _ends(parent)


# ------------------------------------------------------------------------------ stages


def test_a_batch_runs_the_command_that_everybody_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = StageOperator(
        task_id="segment", stage="segment", attempt="/w/runs/r/1", batch={"batch": 3, "name": "x"}
    )
    command = operator.command({})
    assert command[1:] == [
        "-m",
        "magneton_tasks",
        "segment",
        "--run",
        "/w/runs/r/1",
        "--batch",
        "3",
    ]
    monkeypatch.setattr(operator, "run_command", lambda command: Told(result={"blocks": 8}))
    assert operator.execute({}) == {"blocks": 8, "batch": 3}


@pytest.mark.parametrize(
    ("todo", "n", "names"),
    [
        ([(0, 8)], 2, ["batch 0: blocks 0-3", "batch 1: blocks 4-7"]),
        ([(5, 6)], 1, ["block 5"]),
        ([(0, 2), (9, 11)], 4, ["block 0", "block 1", "block 9", "block 10"]),
        ([(0, 2), (9, 11)], 2, ["batch 0: blocks 0-1", "batch 1: blocks 9-10"]),
        ([(0, 1), (9, 11)], 1, ["batch 0: blocks 0-10 (3 of them)"]),
        ([], 0, []),
    ],
)
def test_batches_have_names_for_people(
    todo: list[tuple[int, int]], n: int, names: list[str]
) -> None:
    total = sum(e - b for b, e in todo)
    found = batches("segment", StagePlan(total, todo, n))
    assert [b["name"] for b in found] == names
    assert [b["batch"] for b in found] == list(range(n))
    json.dumps(found)  # goes through XCom
    assert batches("segment", None) == []


def test_apply_works_cells() -> None:
    assert batches("apply", StagePlan(2, [(0, 2)], 1))[0]["name"] == "batch 0: cells 0-1"
