"""Operators that run ``magneton ...`` as a subprocess, by argument list.

Heavy libraries are imported there, never in Airflow's own processes. What the command tells
becomes the task's log, as people read it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from airflow.sdk import BaseOperator, BaseXCom, Context
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.types import DagRunProtocol

from magneton_tasks.airflow.dag import form as forms
from magneton_tasks.airflow.operators.ends import Result, raise_for, result_of
from magneton_tasks.airflow.operators.stage_task import StageTask, is_chosen
from magneton_tasks.base.grid import items
from magneton_tasks.base.units import human_bytes
from magneton_tasks.base.worker_env import MEMORY_VARIABLE, worker_environ
from magneton_tasks.config import renamed
from magneton_tasks.config.read import load_config, parse_config
from magneton_tasks.config.roots import allowed_roots, check_roots
from magneton_tasks.errors import MagnetonError
from magneton_tasks.plan.plan import Plan, StagePlan
from magneton_tasks.plan.stage_names import noun_of
from magneton_tasks.runners import resources, retry
from magneton_tasks.runners.command import plan_command, ran_out_of_memory, stage_command
from magneton_tasks.runners.local import DIE_WITH_PARENT
from magneton_tasks.work.events import EVENTS_VARIABLE, Told, read
from magneton_tasks.work.paths import AttemptPaths

#: What a command gets after SIGTERM before SIGKILL, in seconds: Airflow kills the task after 5 s.
GRACE_S = 3.0
#: Under which plan keeps what a run was given, and what that set, when it was started.
_SETS = "sets"
#: What runs also where nothing is to do.
LOOKING = ("verify", "announce")


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
        ours = {"PYTHONUNBUFFERED": "1", DIE_WITH_PARENT: "1", EVENTS_VARIABLE: "1"}
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
            self._process = process
            try:
                for printed in _lines(process):
                    for line in told.take(read(printed)):
                        self.log.info("%s", line)
                return process.wait(), told
            except BaseException:
                self.on_kill()
                raise
            finally:
                self._process = None

    def on_kill(self) -> None:
        """End the command and what it started: it stops after the file that it writes."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


class PlanOperator(CommandOperator, SkipMixin):
    """Makes an attempt: ``magneton plan CONFIG --run-id ID ...``.

    Returns the result of plan, and pushes the attempt's directory under the key ``attempt``. Where
    there is nothing to do, only what looks at the result runs.
    """

    def __init__(self, *, config_path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config_path = config_path

    def command(self, context: Context) -> Sequence[str]:
        request = plan_request(self.config_path, context)
        return request_command(self.config_path, context["dag_run"].run_id, request)

    def execute(self, context: Context) -> Result:
        result = result_of(self.run_command(self.command(context)))
        return planned(self, result, context)


def planned(task: Any, result: Result, context: Context) -> Result:
    """Hand a plan on; with nothing to do, skip what would only find that out once more."""
    ti = context["ti"]
    ti.xcom_push("attempt", result["attempt"])
    if result["nothing_to_do"]:
        task.log.info("nothing to do: all is done for this input and these settings")
        ti.xcom_push(BaseXCom.XCOM_RETURN_KEY, result)
        task.skip(ti, rest_of(task, keep=LOOKING))
    return result


def rest_of(task: Any, keep: Collection[str] = ()) -> list[Any]:
    """The tasks that follow, but for teardowns and the stages in ``keep``."""
    following = task.get_flat_relatives(upstream=False)
    return [t for t in following if not t.is_teardown and t.task_id.split("_")[0] not in keep]


def plan_request(config_path: str, context: Context) -> forms.FormRequest:
    """What a run's parameters ask of plan.

    Raises
    ------
    AirflowFailException
        The config or the parameters are wrong.
    """
    run = context["dag_run"]
    try:
        config = load_config(config_path)
        request = forms.read(config, context["params"], run.conf, _automatic_date(run))
    except MagnetonError as error:
        raise AirflowFailException(str(error)) from None
    # The web form sends every value, changed or not. Once this task is cleared because somebody
    # edited the file, what nobody had changed in the form must follow the file: so what differed
    # at first is kept, in a store that outlives a clear.
    store = context["task_state_store"]
    # A backfill that runs a date again may give it other values: those are meant.
    given, kept = dict(run.conf or {}), cast("dict[str, Any] | None", store.get(_SETS))
    if kept is None or kept["given"] != given:
        kept = {"given": given, "sets": dict(request.sets)}
        store.set(_SETS, kept)
    sets: dict[str, Any] = renamed.of(kept["sets"])
    try:  # before a container mounts them; plan and workers look again
        asked = load_config(config_path, sets, request.partition)
        check_roots(asked, sets, allowed_roots())
    except MagnetonError as error:
        raise AirflowFailException(str(error)) from None
    return replace(request, sets=sets)


def request_command(config_path: str, run_id: str, request: forms.FormRequest) -> list[str]:
    """The command of plan."""
    return plan_command(
        config_path,
        run_id,
        sets=request.sets,
        partition=request.partition,
        stages=request.stages,
        restart=request.restart,
        form=True,
    )


class BatchesOperator(BaseOperator):
    """Returns the batches of a mapped stage: ``[{"batch": 3, "name": "batch 3: blocks 24-31"}, ...]``.

    One task per stage: Airflow maps over the return value of a task only, not over another XCom.

    Parameters
    ----------
    runner
        Whose batches: none where the run has chosen another. None: there is but one.
    """

    template_fields = ("attempt",)

    def __init__(
        self, *, stage: str, attempt: str, runner: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.attempt = attempt
        self.runner = runner

    def execute(self, context: Context) -> list[dict[str, Any]]:
        if not is_chosen(self.runner, self.attempt):
            return []
        plan = Plan.from_json(AttemptPaths(Path(self.attempt)).plan.read_text(), self.attempt)
        in_space = plan.geometry.is_in_space(self.stage)
        return batches(self.stage, plan.work.get(self.stage), in_space=in_space)


class StageOperator(StageTask, CommandOperator):
    """Runs a stage, or one batch of it: ``magneton STAGE --run ATTEMPT [--batch N]``."""

    template_fields = ("attempt", "batch")

    def command(self, context: Context) -> Sequence[str]:
        return stage_command(self.stage, self.attempt, self.number)

    def execute(self, context: Context) -> Result:
        self.skip_unless_wanted()
        return self.numbered(result_of(self.run_command(self.command(context))))

    def run_command(self, command: Sequence[str]) -> Told:
        """As of any command; what ran out of memory is run again at once, with more."""
        exit_code, told = self.run_once(command)
        if exit_code and ran_out_of_memory(told):
            path = AttemptPaths(Path(self.attempt)).config
            config = parse_config(path.read_text(encoding="utf-8"), str(path))
            most = resources.alone_memory(config.local.memory)
            with resources.turn(self.log.info):
                self.log.warning("ran out of memory; trying again with %s", human_bytes(most))
                exit_code, told = self.run_once(command, {MEMORY_VARIABLE: str(most)})
            if exit_code and ran_out_of_memory(told):
                self.log.warning("ran out of memory once more: no more is available")
                exit_code = retry.without_more_memory(exit_code)
        raise_for(exit_code, command, told)
        return told


class ReleaseOperator(CommandOperator):
    """Gives the volume free for the next run; nothing to do where plan made no attempt."""

    def command(self, context: Context) -> Sequence[str]:
        attempt = context["ti"].xcom_pull(task_ids="plan", key="attempt")
        return stage_command("release", attempt) if attempt else ()

    def execute(self, context: Context) -> None:
        command = self.command(context)
        if command:
            self.run_command(command)


class RefuseOperator(BaseOperator):
    """The one task of a broken config's DAG: fails with what is wrong."""

    def __init__(self, *, reason: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def execute(self, context: Context) -> None:
        raise AirflowFailException(self.reason)


def batches(stage: str, work: StagePlan | None, *, in_space: bool = False) -> list[dict[str, Any]]:
    """The batches of a stage with names for people, such as ``blocks 24-31``.

    ``in_space``: a batch holds blocks that are neighbours (`work.job.Job.keys`).
    """
    if work is None:
        return []
    noun = noun_of(stage)
    named = []
    for k in range(work.batches):
        begin, end = work.batch(k)
        if in_space:  # neighbours in space; their numbers don't follow one another
            named.append(
                {"batch": k, "name": f"batch {k}: {end - begin} {noun}{'s' * (end - begin > 1)}"}
            )
            continue
        first = next(items(work.todo, begin, begin + 1))
        last = next(items(work.todo, end - 1, end))
        name = f"{noun} {first}" if end - begin == 1 else f"{noun}s {first}-{last}"
        if last - first != end - begin - 1:
            name += f" ({end - begin} of them)"
        named.append({"batch": k, "name": f"batch {k}: {name}"})
    return named


def _automatic_date(run: DagRunProtocol) -> Any:
    """Logical date of a scheduled or backfilled run.

    A manual run has none over REST, and a prefilled "now" from the form, which nobody chose.
    """
    return None if run.run_type == "manual" else run.logical_date


def _lines(process: subprocess.Popen[str]) -> Iterable[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line.rstrip()
