"""A task's log is read from the disk while the task runs or waits; nobody is asked for it."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.utils.log.file_task_handler import FileTaskHandler
from airflow.utils.state import TaskInstanceState

from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service import task_logs

# Airflow leaves the files that it reads to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LOG = "dag_id=v/run_id=r/task_id=segment/attempt=1.log"


def read(
    handler: FileTaskHandler, state: TaskInstanceState, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[str]]:
    """The log of a task in this state as the web interface shows it, and whom it was asked of."""
    asked: list[str] = []

    def refuse(_: socket.socket, address: object) -> None:
        asked.append(str(address))
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(FileTaskHandler, "_render_filename", lambda *_: LOG)
    monkeypatch.setattr(
        FileTaskHandler, "_get_executor_get_task_log", lambda *_: lambda *_: ([], [])
    )
    task = SimpleNamespace(
        state=state, try_number=1, hostname="127.0.0.1", triggerer_job=None, task=None
    )
    lines, _ = handler._read(task, 1)  # type: ignore[arg-type]
    return "\n".join(line.event for line in lines), asked  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "state",
    [TaskInstanceState.RUNNING, TaskInstanceState.DEFERRED, TaskInstanceState.SUCCESS],
)
def test_it_is_shown_without_asking_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: TaskInstanceState
) -> None:
    (tmp_path / LOG).parent.mkdir(parents=True)
    (tmp_path / LOG).write_text('{"event": "block 3 is done"}\n')
    (tmp_path / f"{LOG}.trigger.7.log").write_text('{"event": "2 jobs wait"}\n')
    shown, asked = read(task_logs.DiskTaskHandler(str(tmp_path)), state, monkeypatch)
    assert "block 3 is done" in shown and "2 jobs wait" in shown
    assert "Could not read" not in shown and not asked


def test_one_that_is_missing_is_told_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = task_logs.DiskTaskHandler(str(tmp_path))
    shown, asked = read(handler, TaskInstanceState.FAILED, monkeypatch)
    assert str(tmp_path / LOG) in shown and not asked


def test_airflow_takes_this_handler(tmp_path: Path) -> None:
    setting = homes.settings(tmp_path, tmp_path)["AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS"]
    assert setting == f"{task_logs.__name__}.LOGGING"
    handler = task_logs.LOGGING["handlers"]["task"]
    assert handler["class"] == f"{task_logs.__name__}.DiskTaskHandler"
    assert "task" in task_logs.LOGGING["loggers"]["airflow.task"]["handlers"]
