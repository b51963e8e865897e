"""Plan as a task of a DAG: what a run's parameters ask of it, and what follows from its result."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

from airflow.sdk import BaseXCom, Context
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.types import DagRunProtocol

from magneton_tasks.airflow.dag import form as forms
from magneton_tasks.airflow.operators.ends import Result, result_of
from magneton_tasks.airflow.operators.process import CommandOperator
from magneton_tasks.config import renamed
from magneton_tasks.config.read import load_config
from magneton_tasks.config.roots import allowed_roots, check_roots
from magneton_tasks.errors import MagnetonError
from magneton_tasks.runners.command import plan_command

#: Under which plan keeps what a run was given, and what that set, when it was started.
_SETS = "sets"
#: What runs also where nothing is to do.
LOOKING = ("verify", "announce")


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
    return [t for t in following if not t.is_teardown and _stage_of(t.task_id) not in keep]


def _stage_of(task_id: str) -> str:
    """The stage of a task, and of what finds out its batches: ``batches.verify_local``."""
    return task_id.removeprefix("batches.").split("_")[0]


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
        thresholds=request.thresholds,
    )


def _automatic_date(run: DagRunProtocol) -> Any:
    """Logical date of a scheduled or backfilled run.

    A manual run has none over REST, and a prefilled "now" from the form, which nobody chose.
    """
    return None if run.run_type == "manual" else run.logical_date
