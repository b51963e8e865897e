"""Operators that run ``magneton ...`` as a subprocess, by argument list.

Heavy libraries are imported there, never in Airflow's own processes. What the command tells
becomes the task's log, as people read it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from magneton_tasks.airflow.operators.ends import Result, raise_for, result_of
from magneton_tasks.airflow.operators.stage_task import StageTask
from magneton_tasks.base.worker_env import DIE_WITH_PARENT, MEMORY_VARIABLE, worker_environ
from magneton_tasks.runners import resources
from magneton_tasks.runners.command import ran_out_of_memory, stage_command
from magneton_tasks.runners.retry import Cause, Tries
from magneton_tasks.work.events import EVENTS_VARIABLE, Told, read
from magneton_tasks.work.frozen import config_of
from magneton_tasks.work.paths import AttemptPaths

#: What a command gets after SIGTERM before SIGKILL, in seconds: Airflow kills the task after 5 s.
GRACE_S = 3.0


class CommandOperator(BaseOperator):
    """Runs one command of ours and returns its result."""

    _process: subprocess.Popen[str] | None = None

    def command(self, context: Context) -> Sequence[str]:
        """The argument list."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        return result_of(self.run_command(self.command(context)))

    def run_command(self, command: Sequence[str]) -> Told:
        """Run it to its end; what it told.

        Raises
        ------
        AirflowFailException
            It failed for good.
        AirflowException
            It failed, and a retry may help.
        """
        exit_code, told = self.run_once(command)
        raise_for(exit_code, command, told)
        return told

    def run_once(
        self, command: Sequence[str], more: Mapping[str, str] | None = None
    ) -> tuple[int, Told]:
        """Run it, with ``more`` in its environment; its exit code, and what it told."""
        self.log.info("$ %s", shlex.join(command))
        told = Told()
        ours = {"PYTHONUNBUFFERED": "1", DIE_WITH_PARENT: str(os.getpid()), EVENTS_VARIABLE: "1"}
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**worker_environ(), **ours, **(more or {})},
            start_new_session=True,  # so that on_kill reaches the command's own children too
        ) as process:
            try:
                self._process = process
                for printed in _lines(process):
                    for line in told.take(read(printed)):
                        self.log.info("%s", line)
                return process.wait(), told
            except BaseException:
                _end(process)
                raise
            finally:
                self._process = None

    def on_kill(self) -> None:
        """End the command and what it started: it stops after the file that it writes."""
        process = self._process
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and what it started."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


class StageOperator(StageTask, CommandOperator):
    """Runs a stage, or one batch of it: ``magneton STAGE --run ATTEMPT [--batch N]``."""

    template_fields = ("attempt", "batch")

    def command(self, context: Context) -> Sequence[str]:
        return stage_command(self.stage, self.attempt, self.number)

    def execute(self, context: Context) -> Result:
        self.skip_unless_wanted()
        return self.leaving_out(
            context, lambda: self.numbered(result_of(self.run_command(self.command(context))))
        )

    def run_command(self, command: Sequence[str]) -> Told:
        """As of any command; what ran out of memory is run again at once, with more."""
        exit_code, told = self.run_once(command)
        if exit_code and ran_out_of_memory(told):
            exit_code, told = self.run_again(command, exit_code, told)
        raise_for(exit_code, command, told)
        return told

    def run_again(self, command: Sequence[str], exit_code: int, told: Told) -> tuple[int, Told]:
        """What ran out of memory, with all that a task may have, one at a time on this machine."""
        config = config_of(AttemptPaths(Path(self.attempt)))
        tries = Tries(resources.alone_memory(config.local.memory))
        with resources.turn(self.log.info):
            while exit_code and ran_out_of_memory(told):
                step = tries.after(exit_code, Cause.MEMORY)
                self.log.warning("ran out of memory; %s", step.words)
                if not step.again:
                    return step.exit_code, told
                exit_code, told = self.run_once(command, {MEMORY_VARIABLE: str(tries.memory)})
        return exit_code, told


class ReleaseOperator(CommandOperator):
    """Gives the volume free for the next run; nothing to do where plan made no attempt."""

    def command(self, context: Context) -> Sequence[str]:
        attempt = context["ti"].xcom_pull(task_ids="plan", key="attempt")
        return stage_command("release", attempt) if attempt else ()

    def execute(self, context: Context) -> None:
        command = self.command(context)
        if command:
            self.run_command(command)


def _lines(process: subprocess.Popen[str]) -> Iterable[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line.rstrip()
