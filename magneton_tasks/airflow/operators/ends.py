"""How a command's end becomes a task's end, whatever ran the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from magneton_tasks.errors import EXIT_OK, FINAL_EXITS
from magneton_tasks.work.events import Told
from magneton_tasks.work.record import failure_lines

Result = dict[str, Any]

#: How many failed blocks the error of a batch names.
TOLD_FAILURES = 3


def failure(exit_code: int, message: str) -> AirflowException:
    """The exception that fails a task: for good, or to be retried."""
    if exit_code in FINAL_EXITS:
        return AirflowFailException(message)
    return AirflowException(message)


def raise_for(exit_code: int, command: Sequence[str], told: Told) -> None:
    """Fail the task of a command that failed; ``told``: what it said at its end.

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
    said = _causes(told.failures) if told.failures else told.last
    raise failure(exit_code, "\n".join([f"`{shlex.join(command)}` {how}", *said]))


def _causes(failures: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """The failed blocks (or cells) of a batch: cause, what to do, where a log of its own is."""
    for failure in failures[:TOLD_FAILURES]:
        where = f"{failure['key']}: " if failure.get("key") is not None else ""
        yield from failure_lines(failure, where)
    if len(failures) > TOLD_FAILURES:
        yield f"and {len(failures) - TOLD_FAILURES} more"


def result_of(told: Told) -> Result:
    """The result of a command.

    Raises
    ------
    AirflowFailException
        It told none.
    """
    if told.result is None:
        last = told.last[-1] if told.last else ""
        raise AirflowFailException(f"the command told no result; its last line: {last!r}")
    return told.result
