"""How a command's end becomes a task's end, whatever ran the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from magneton_tasks.errors import EXIT_OK, FINAL_EXITS
from magneton_tasks.runners.command import last_result

Result = dict[str, Any]

#: How much of a failed command's output its error repeats; all of it is in the task log.
TAIL_LINES = 8
#: How many failed blocks the error of a batch names.
TOLD_FAILURES = 3


def failure(exit_code: int, message: str) -> AirflowException:
    """The exception that fails a task: for good, or to be retried."""
    if exit_code in FINAL_EXITS:
        return AirflowFailException(message)
    return AirflowException(message)


def raise_for(exit_code: int, command: Sequence[str], tail: Sequence[str]) -> None:
    """Fail the task of a command that failed; ``tail``: the last lines that it printed.

    Raises
    ------
    AirflowFailException
        It failed for good.
    AirflowException
        It failed, and a retry may help.
    """
    if exit_code == EXIT_OK:
        return
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with {exit_code}"
    failures = parse(last_result(tail)).get("failures")
    message = "\n".join(
        [f"`{shlex.join(command)}` {how}", *(_told(failures) if failures else tail)]
    )
    raise failure(exit_code, message)


def _told(failures: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """The failed blocks (or cells) of a batch: cause, what to do, where a log of its own is."""
    for failure in failures[:TOLD_FAILURES]:
        where = f"{failure['key']}: " if failure.get("key") is not None else ""
        yield f"{where}{failure['cause']}"
        if failure.get("hint"):
            yield f"  what to do: {failure['hint']}"
        if failure.get("log"):
            yield f"  log: {failure['log']}"
    if len(failures) > TOLD_FAILURES:
        yield f"and {len(failures) - TOLD_FAILURES} more"


def parse(line: str) -> Result:
    """The result in a command's last line; empty where it isn't one."""
    with suppress(json.JSONDecodeError):
        result = json.loads(line)
        if isinstance(result, dict):
            return result
    return {}


def result_of(line: str) -> Result:
    """The result in a command's last line.

    Raises
    ------
    AirflowFailException
        It isn't one.
    """
    result = parse(line)
    if not result:
        raise AirflowFailException(f"the command's last line isn't its result: {line!r}")
    return result
