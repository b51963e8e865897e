"""What the operators of all runners have in common, and when a task of theirs is skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from magneton_tasks.airflow.operators.ends import Result
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.errors import MagnetonError
from magneton_tasks.plan.stage_table import AFTER_POOL, CHOICE_OF, MAPPED
from magneton_tasks.work import left_out
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.frozen import config_of, plan_of
from magneton_tasks.work.paths import AttemptPaths


class StageTask(BaseOperator):
    """A part of each runner's operator: which stage it runs, and of it what.

    Parameters
    ----------
    stage
        ``segment``, ``count``, ``pool``, ``apply``, ``downsample``, ``verify`` or ``release``.
    attempt
        The attempt's directory, from plan.
    batch
        One of the stage's batches, or None. The result carries its number; where that is None, the
        batch is the whole stage.
    runner
        The operator's where other runners are offered too: the task is skipped if the run has
        chosen another. None: there is no other.
    """

    def __init__(
        self,
        *,
        stage: str,
        attempt: str,
        batch: Mapping[str, Any] | None = None,
        runner: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.attempt = attempt
        self.batch = batch
        self.runner = runner

    @property
    def number(self) -> int | None:
        """Of the batch; None: the task is all of the stage."""
        number = None if self.batch is None else self.batch["batch"]
        return None if number is None else int(number)

    @property
    def index_name(self) -> str:
        """What Airflow calls the task where it is one of a mapped stage's.

        Of the only threshold it is the number, once pool has taken it from the map.
        """
        if self.batch is None:
            return ""
        if self.number is None:
            with suppress(MagnetonError, OSError):
                settled = Attempt.open(Path(self.attempt)).threshold.settled
                if settled is not None:
                    return text_of(settled)
        return str(self.batch["name"])

    def skip_unless_wanted(self) -> None:
        """Skip the task where the run has chosen another runner, or wasn't asked for the stage."""
        skip_unless_chosen(self.runner, self.attempt)
        skip_unless_asked(self.stage, self.attempt)

    def leaving_out(self, context: Context, work: Callable[[], Result]) -> Result:
        """Do the task's ``work``; one of several thresholds that fails doesn't stop the others.

        Raises
        ------
        AirflowSkipException
            It failed for good at one of them: later stages leave that out, and verify ends red.
        AirflowException
            It failed otherwise.
        """
        if self.stage not in AFTER_POOL or not plan_of(AttemptPaths(Path(self.attempt))).cuts:
            return work()
        try:
            result = work()
        except AirflowSkipException:
            raise
        except AirflowException as error:
            ti = context["ti"]
            if not isinstance(error, AirflowFailException) and ti.try_number <= ti.max_tries:
                raise
            self._note(str(error))
            self.log.error("%s", error)
            raise AirflowSkipException(
                f"{self.task_id} failed at one threshold; the others go on, and verify tells of it"
            ) from None
        self._note(None)
        return result

    def _note(self, cause: str | None) -> None:
        """Keep why the task failed, or that it didn't."""
        with suppress(MagnetonError, OSError):  # what can't be noted is found out by the next stage
            attempt = Attempt.open(Path(self.attempt))
            left_out.note_batch(attempt, self.stage, self.number, cause)

    def numbered(self, result: Result) -> Result:
        """A batch's result with its number: one that failed leaves a gap in Airflow's list."""
        return result if self.number is None else {**result, "batch": self.number}


def is_chosen(runner: str | None, attempt: str) -> bool:
    """Whether an attempt runs with this runner; None: whichever it is."""
    if runner is None:
        return True
    return config_of(AttemptPaths(Path(attempt))).runner.default == runner


def skip_unless_chosen(runner: str | None, attempt: str) -> None:
    """Skip a task of a runner that the run hasn't chosen."""
    if not is_chosen(runner, attempt):
        raise AirflowSkipException(f"this run has chosen another runner than {runner}")


def skip_unless_asked(stage: str, attempt: str) -> None:
    """Skip a stage without batches that a run limited to some stages wasn't asked for."""
    if stage in MAPPED or stage not in CHOICE_OF:
        return
    plan = plan_of(AttemptPaths(Path(attempt)))
    if CHOICE_OF[stage] not in plan.stages:
        raise AirflowSkipException(f"this run was asked for {', '.join(plan.stages)} only")
