"""Operators that run ``magneton ...`` as job arrays: submit, wait without a worker slot, look, decide.

A mapped task is an array. What is submitted, found again, and to be done about a job that failed is
what `runners.arrays` decides; here a step of it becomes a deferral or the task's end.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferralTimeout

from magneton_tasks.airflow.operators.array_trigger import JobsTrigger
from magneton_tasks.airflow.operators.ends import Result, failure
from magneton_tasks.airflow.operators.stage_task import StageTask
from magneton_tasks.errors import EXIT_OK, MagnetonError
from magneton_tasks.runners.arrays import usage
from magneton_tasks.runners.arrays.batch import BatchJobs
from magneton_tasks.runners.arrays.scheduler import Answer, Command
from magneton_tasks.runners.arrays.snapshot import Snapshot
from magneton_tasks.runners.arrays.steps import Done, Failed, Later, Step, Wait
from magneton_tasks.runners.jobs import open_jobs
from magneton_tasks.work import results
from magneton_tasks.work.paths import AttemptPaths

#: Runs the program that submits (sbatch). Words and script come by the environment, so nothing of a run becomes shell text. The
#: last line is the answer, or else the complaint, its lines joined by tabs.
SUBMIT = r"""
mapfile -t words <<<"$MAGNETON_WORDS"
answer=$(timeout "$MAGNETON_TIMEOUT" "${words[@]}" <<<"$MAGNETON_SCRIPT" 2>complaint)
code=$?
if [ $code = 0 ]; then
    cat complaint
    printf '%s\n' "$answer"
else
    paste -s complaint
fi
exit $code
"""
#: What `timeout` ends with where the time was over.
_TIMED_OUT = 124


class ArrayOperator(StageTask, BashOperator):
    """Runs a stage, or one batch of it, as `airflow.operators.process.StageOperator` does, in jobs.

    ``probe`` is a stage too.
    """

    # The command is fixed, and nothing of it is a template.
    template_fields = ("attempt", "batch")
    template_ext: Sequence[str] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(bash_command=SUBMIT, skip_on_exit_code=None, **kwargs)

    def execute(self, context: Context) -> Any:
        self.skip_unless_wanted()
        return self.leaving_out(context, lambda: self.begin(context))

    def begin(self, context: Context) -> Result:
        """Adopt the batch's jobs, and do the first step."""
        limit = self.execution_timeout
        deadline = None if limit is None else time.time() + limit.total_seconds()
        try:
            jobs = self.jobs()
            token = jobs.adopt()
            # Not handed on by the deferral: a trigger whose time is over hands nothing on, and
            # `dag.test` the event alone.
            store = context["task_state_store"]
            store.set(_of_try(context), {"token": token, "deadline": deadline})
            return self.act(jobs, jobs.step(token, None), token, deadline)
        except MagnetonError as error:
            raise failure(error.exit_code, str(error)) from None

    def look_again(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on after the trigger fired."""
        return self.leaving_out(context, lambda: self.go_on(context, event))

    def go_on(self, context: Context, event: Mapping[str, Any]) -> Result:
        """The step after what the trigger saw."""
        if "silent" in event:
            raise AirflowException(event["silent"])
        token, deadline = self.kept(context)
        try:
            jobs = self.jobs()
            step = jobs.step(token, Snapshot.of_data(event["snapshot"]))
            return self.act(jobs, step, token, deadline)
        except MagnetonError as error:
            raise failure(error.exit_code, str(error)) from None

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """As the base class; where the trigger's time was over, the jobs are cancelled first."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            cancelled = self.jobs().cancel(self.kept(context)[0])
            raise AirflowException(
                f"{self.task_id} took longer than its execution_timeout; "
                f"cancelled jobs: {', '.join(cancelled) or 'none'}"
            ) from None

    def kept(self, context: Context) -> tuple[str, float | None]:
        """Token and deadline of this try, which `execute` kept."""
        kept: Any = context["task_state_store"].get(_of_try(context))
        return kept["token"], kept["deadline"]

    def jobs(self) -> BatchJobs:
        """The batch's jobs, submitted through this operator's shell."""
        return open_jobs(Path(self.attempt), self.stage, self.number, self.submit)

    def act(self, jobs: BatchJobs, step: Step, token: str, deadline: float | None) -> Result:
        """What a step means for the task: its result, a deferral, or a failure."""
        for note in step.notes:
            self.log.info("%s", note)
        if isinstance(step, Done):
            root = AttemptPaths(jobs.about.attempt.paths.root)
            if (
                jobs.about.stage == "verify" and results.of_verify(root) is not None
            ):  # the run's end
                for told in usage.report(jobs.about.scheduler, jobs.about.attempt):
                    level = logging.WARNING if told.level == "warning" else logging.INFO
                    self.log.log(level, "%s", told.text)
            return self.numbered(step.result)
        if isinstance(step, Failed) and step.by_somebody:
            raise AirflowFailException(str(step.error))
        if isinstance(step, Failed):
            raise failure(step.error.exit_code, str(step.error))
        if isinstance(step, Wait):
            self.log.info("waiting for %s", ", ".join(step.jobs))
            self.wait(JobsTrigger.of_batch(jobs, token, step.jobs, None), deadline)
        if isinstance(step, Later):
            self.log.info("%s; looking again within %.0f s", step.why, step.seconds)
            self.wait(JobsTrigger.of_batch(jobs, token, step.jobs, step.seconds), deadline)
        raise AirflowFailException(
            "another try of this task has taken over its jobs; they continue"
        )

    def wait(self, trigger: JobsTrigger, deadline: float | None) -> NoReturn:
        """Give the worker slot back until the trigger fires."""
        left = None if deadline is None else timedelta(seconds=max(deadline - time.time(), 1))
        self.defer(trigger=trigger, method_name="look_again", timeout=left)

    def submit(self, command: Command) -> Answer:
        """Run what submits by the operator's own command: an `arrays.scheduler.Shell`."""
        bad = [word for word in command.words if "\n" in word]
        if bad:
            raise AirflowFailException(
                f"{command.words[0]} can't be given a line break: {bad[0]!r}"
            )
        environ = {
            **command.environ,
            "MAGNETON_WORDS": "\n".join(command.words),
            "MAGNETON_SCRIPT": command.stdin,
            "MAGNETON_TIMEOUT": str(command.timeout_s),
        }
        done = self._run_inline_command(bash_path=shutil.which("bash") or "bash", env=environ)
        if done.exit_code == _TIMED_OUT:
            raise subprocess.TimeoutExpired(command.words, command.timeout_s)
        if done.exit_code == EXIT_OK:
            return Answer(EXIT_OK, done.output, "")
        return Answer(done.exit_code, "", done.output.replace("\t", "\n"))


def _of_try(context: Context) -> str:
    """A key of this try alone: one that was cleared may still be at work when the next has begun."""
    return f"try-{context['ti'].try_number}"
