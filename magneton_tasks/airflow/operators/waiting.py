"""A run waits for its input without taking up a slot: an operator that defers, and its trigger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from magneton_tasks.airflow.operators.planning import plan_request, rest_of
from magneton_tasks.base.units import human_time
from magneton_tasks.base.worker_env import worker_environ
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.errors import EXIT_OK, RETRYABLE_EXITS, MagnetonError
from magneton_tasks.formats.arrival import NOT_YET, Awaited

TASK = "wait_for_input"
#: What the trigger reports, beside the text of an error.
_THERE, _LATE = "there", "late"
#: Exit codes of whoever asks a bucket, after which it's asked again.
_NOT_YET = {NOT_YET, *RETRYABLE_EXITS}


class WaitForInputOperator(BaseOperator, SkipMixin):
    """Goes on once the run's input is there; where it doesn't come in time: see `wait_for_input`."""

    def __init__(self, *, config_path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config_path = config_path

    def execute(self, context: Context) -> None:
        config = self._config(context)
        awaited, wait = Awaited.of(config), config.wait_for_input
        if not awaited.is_remote and self._look(awaited):
            self.log.info("%s is there", awaited)
        elif wait.timeout is None and not awaited.is_remote:
            self._give_up(context, config)
        else:
            most_s = wait.timeout or 0
            self.log.info("waiting for %s, at most %s", awaited, human_time(most_s))
            trigger = InputTrigger(asdict(awaited), wait.poll, time.time() + most_s)
            self.defer(trigger=trigger, method_name="after_waiting")

    def after_waiting(self, context: Context, event: str) -> None:
        """What the trigger has seen decides."""
        if event == _LATE:
            self._give_up(context, self._config(context))
        elif event != _THERE:
            raise AirflowFailException(event)

    def _give_up(self, context: Context, config: RunConfig) -> None:
        wait = config.wait_for_input
        waited = f"after {human_time(wait.timeout)}" if wait.timeout else "yet"
        text = f"there isn't {Awaited.of(config)} {waited}"
        if wait.missing == "fail":
            raise AirflowFailException(
                f"{text}\n  what to do: provide it and clear this task; or raise wait_for_input.timeout; "
                "or set wait_for_input.missing: skip, which skips such runs"
            )
        self.log.info("%s: this run is skipped, as wait_for_input.missing says", text)
        self.skip(context["ti"], rest_of(self))

    def _config(self, context: Context) -> RunConfig:
        request = plan_request(self.config_path, context)
        return load_config(self.config_path, request.sets, request.partition)

    def _look(self, awaited: Awaited) -> bool:
        try:
            return awaited.is_there()
        except MagnetonError as error:
            raise AirflowFailException(str(error)) from None


class InputTrigger(BaseTrigger):
    """Looks for an input until it is there, or the deadline (unix seconds) is over.

    The deadline is a time, not a span: a triggerer that was restarted goes on with it.
    """

    def __init__(self, awaited: dict[str, Any], poll_s: float, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.awaited = Awaited(**awaited)
        self.poll_s = poll_s
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {
            "awaited": asdict(self.awaited), "poll_s": self.poll_s, "deadline": self.deadline
        }  # fmt: skip
        return f"{__name__}.{type(self).__name__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            while not await self._is_there():
                left = self.deadline - time.time()
                if left <= 0:
                    yield _event(_LATE)
                    return
                await asyncio.sleep(min(self.poll_s, left))
            yield _event(_THERE)
        except MagnetonError as error:
            yield _event(str(error))

    async def _is_there(self) -> bool:
        if not self.awaited.is_remote:
            return await asyncio.to_thread(self.awaited.is_there)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.awaited.command(), stderr=pipe, env=worker_environ()
        )
        _, said = await process.communicate()
        code = process.returncode or EXIT_OK
        if code > 0 and code not in _NOT_YET:
            raise MagnetonError(
                said.decode(errors="replace").strip() or f"asking ended with {code}"
            )
        return code == EXIT_OK


def _event(text: str) -> TriggerEvent:
    return TriggerEvent(text)  # type: ignore[no-untyped-call]
