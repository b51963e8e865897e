"""Operators that run ``magneton ...`` in containers, through Airflow's Docker provider.

The provider connects to the engine and stops the container with the task; what a container is, and
what becomes of one that was left behind or ran out of memory, is `runners.docker.task`'s work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowException

from magneton_tasks.airflow.operators.batches import BatchesOperator, group_batches
from magneton_tasks.airflow.operators.ends import Result, failure, raise_for, result_of
from magneton_tasks.airflow.operators.planning import plan_request, planned, request_command
from magneton_tasks.airflow.operators.stage_task import StageTask
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import MagnetonError, TemporaryError
from magneton_tasks.runners.docker.containers import Task
from magneton_tasks.runners.docker.engine import Engine, reach
from magneton_tasks.runners.docker.task import Workshop, plan_task, stage_task
from magneton_tasks.work.events import Event, Told

#: How long on_kill waits, in seconds: Airflow kills the task after 5 s, and the engine goes on by itself.
_WAIT_S = 4.0


class ContainerOperator(DockerOperator):
    """Runs one command of ours in a container; what it prints becomes the task's log."""

    # What a container is comes from the YAML file alone: nothing of it is a template.
    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()

    _workshop: Workshop | None = None

    def __init__(self, *, config: RunConfig | None = None, **kwargs: Any) -> None:
        docker = config.docker if config is not None else None
        kwargs.setdefault("image", docker.image if docker else "")
        kwargs.setdefault("docker_url", docker.engine if docker else None)
        super().__init__(mount_tmp_dir=False, auto_remove="force", **kwargs)

    def engine(self) -> Engine:
        """The provider's client.

        Raises
        ------
        TemporaryError
            No engine answers.
        """
        address = str(self.docker_url)
        reach(address)
        try:
            return Engine(self.cli, address)
        except AirflowException as error:
            raise TemporaryError(
                f"the Docker engine at {address} doesn't answer: {error}",
                "start it, check docker.engine and $DOCKER_HOST, and that Airflow's user may use it",
            ) from None

    def run_task(self, workshop: Workshop, task: Task) -> Told:
        """Run a task to its end; what it told.

        Raises
        ------
        AirflowFailException
            It failed for good.
        AirflowException
            It failed, and a retry may help.
        """

        def on_event(event: Event) -> None:
            for line in event.sentence().split("\n"):
                self.log.info("%s", line)

        self._workshop = workshop
        ending = workshop.run(task, on_event)
        if ending.cause is not None:
            raise failure(ending.exit_code, str(ending.cause))
        raise_for(ending.exit_code, ["magneton", *task.arguments], ending.told)
        return ending.told

    def run_stage(self, attempt: str, stage: str, number: int | None, try_number: int) -> Told:
        """Run a stage of an attempt, or a batch of it; result and errors as those of `run_task`."""
        root = Path(attempt)
        try:
            workshop = Workshop.of_attempt(root, self.engine())
            return self.run_task(
                workshop, stage_task(workshop.planned, root, stage, number, try_number)
            )
        except MagnetonError as error:
            raise failure(error.exit_code, str(error)) from None

    def on_kill(self) -> None:
        """Ask the container to end: it does within 10 s, and stays done with what it has done."""
        if self._workshop is not None:
            self._workshop.stopper.stop(wait_s=_WAIT_S)


class PlanContainerOperator(ContainerOperator, SkipMixin):
    """Makes an attempt, as `airflow.operators.planning.PlanOperator` does, in a container."""

    def __init__(self, *, config_path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config_path = config_path

    def execute(self, context: Context) -> Any:
        request = plan_request(self.config_path, context)
        path, run_id = Path(self.config_path), context["dag_run"].run_id
        command = request_command(self.config_path, run_id, request)
        try:
            workshop = Workshop.of_config(path, request.sets, request.partition, self.engine())
            task = plan_task(path, workshop.config, run_id, command)
            result = result_of(self.run_task(workshop, task))
            attempt = Path(result["attempt"])
            for name in Workshop.of_attempt(attempt, workshop.engine).reap_others(
                run_id, int(attempt.name)
            ):
                self.log.info("removed the container %s of an earlier run", name)
        except MagnetonError as error:
            raise failure(error.exit_code, str(error)) from None
        return planned(self, result, context)


class StageContainerOperator(StageTask, ContainerOperator):
    """Runs a stage, or one batch of it, as `airflow.operators.process.StageOperator` does, in a container."""

    template_fields = ("attempt", "batch")

    def execute(self, context: Context) -> Any:
        self.skip_unless_wanted()
        try_number = context["ti"].try_number

        def work() -> Result:
            told = self.run_stage(self.attempt, self.stage, self.number, try_number)
            return self.numbered(result_of(told))

        return self.leaving_out(context, work)


class GroupsContainerOperator(BatchesOperator, ContainerOperator):
    """Finds out the batches of a stage that works groups, as `GroupsOperator` does, in a container."""

    template_fields = ("attempt",)

    def execute(self, context: Context) -> Any:
        def find_out() -> Result:
            number = context["ti"].try_number
            return result_of(self.run_stage(self.attempt, self.stage, None, number))

        return group_batches(self, context, find_out)


class ReleaseContainerOperator(ContainerOperator):
    """Gives the volume free for the next run; nothing to do where plan made no attempt."""

    def execute(self, context: Context) -> None:
        attempt = context["ti"].xcom_pull(task_ids="plan", key="attempt")
        if attempt:
            self.run_stage(attempt, "release", None, context["ti"].try_number)
