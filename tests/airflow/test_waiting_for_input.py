"""Who waits for an input in a bucket asks again, or hears that it can never be there."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.errors import EXIT_BUG, EXIT_CONFIG, EXIT_IO, EXIT_TEMPORARY
from magneton_tasks.formats.arrival import NOT_YET, Awaited

Waiting = Callable[[list[int | str]], str]


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """What the trigger reports where whoever asks ends with these codes, one after the other.

    A code may be an expression, too, that is worked out there.
    """
    from magneton_tasks.airflow.operators.waiting import InputTrigger

    def wait(codes: list[int | str]) -> str:
        left = iter(codes)

        def command(_: Awaited) -> list[str]:
            code = f"import os, sys; sys.stderr.write('no such mip'); os._exit({next(left)})"
            return [sys.executable, "-S", "-c", code]

        monkeypatch.setattr(Awaited, "command", command)
        awaited: dict[str, Any] = {"url": "gs://bucket/aff", "mip": 0, "marker": None}
        trigger = InputTrigger(awaited, 0.01, time.time() + 600)

        async def first() -> str:
            async for event in trigger.run():
                return str(event.payload)
            return ""

        return asyncio.run(first())

    return wait


@pytest.mark.parametrize("code", [NOT_YET, EXIT_TEMPORARY, EXIT_IO])
def test_what_is_not_there_yet_is_asked_for_again(waiting: Waiting, code: int) -> None:
    assert waiting([code, code, 0]) == "there"


@pytest.mark.parametrize("code", [EXIT_CONFIG, EXIT_BUG, 1])
def test_what_can_never_be_there_is_told_at_once(waiting: Waiting, code: int) -> None:
    assert waiting([code]) == "no such mip"


def test_who_asks_gets_no_connection_of_airflow_s(
    waiting: Waiting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", "smtp://pa55")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    seen = tmp_path / "environ"
    assert waiting([f"open({str(seen)!r}, 'w').write(str(os.environ)) * 0"]) == "there"
    assert "'AWS_ACCESS_KEY_ID': 'me'" in seen.read_text()
    assert "pa55" not in seen.read_text()
