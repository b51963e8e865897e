"""From volume configs to DAGs: names, pages, and what becomes of a config that is broken.

One DAG file makes all DAGs, and an import error of that file would take all of them down. So a
broken config becomes a DAG as well, which says what is wrong. A task parses the file
too, once each: it makes the DAG that it belongs to, and reads no other config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TriggerRule, get_parsing_context
from croniter import croniter
from croniter.croniter import CroniterError

from magneton_tasks.airflow.dag import notices
from magneton_tasks.airflow.dag.dag_names import named_configs
from magneton_tasks.airflow.operators.refuse import RefuseOperator
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.runners import retry

MakeDag = Callable[[str, Path, RunConfig], DAG]


def settings(config: RunConfig) -> dict[str, Any]:
    """What the DAG of a volume config is made with, besides its id, form and page."""
    return {
        "schedule": config.schedule,
        # Any date before the first volume: a backfill doesn't reach behind it.
        "start_date": datetime(2000, 1, 1, tzinfo=UTC),
        "catchup": False,
        "max_active_runs": 1,  # a volume has one owner at a time
        # A run by hand starts at once; a schedule starts when somebody switches it on.
        "is_paused_upon_creation": config.schedule is not None,
        "tags": ["magneton"],
        **notices.callbacks(config),
        "default_args": {
            "retries": retry.TASK_RETRIES,
            "retry_delay": timedelta(seconds=retry.TASK_PAUSE_S),
            # A stage without work is skipped, and what follows isn't; one that failed blocks all.
            "trigger_rule": TriggerRule.NONE_FAILED,
        },
    }


def make_dags(places: str, make_dag: MakeDag) -> Iterator[DAG]:
    """One DAG for each config in ``places`` (directories or files, separated by ``:``).

    In a task's process: the task's own alone.
    """
    only = get_parsing_context().dag_id
    for dag_id, path, other in named_configs(places):
        if only is not None and dag_id != only:
            continue
        try:
            if other is not None:
                raise ConfigError(
                    f"{path} would make the same DAG as {other}", "rename one of them"
                )
            _check_name(path)
            config = load_config(path)
            _check_schedule(path, config)
            yield make_dag(dag_id, path, config)
        except MagnetonError as error:
            text = str(error)
            yield broken(dag_id, path, text if str(path) in text else f"{path}: {text}")
        except Exception as error:  # whatever Airflow itself refuses gets the same treatment
            yield broken(dag_id, path, f"{path}: {error}")


def _check_name(path: Path) -> None:
    """The DAG's page shows it, and Airflow's messages are UTF-8: one other name ends the parse."""
    if str(path) != plain(str(path)):
        raise ConfigError(
            f"{plain(str(path))}: its path isn't UTF-8 text", "rename the file, or its directory"
        )


def _check_schedule(path: Path, config: RunConfig) -> None:
    """Airflow looks at it only when it saves the DAGs, and would drop all of them."""
    if config.schedule is None:
        return
    try:
        croniter(config.schedule)
    except (CroniterError, ValueError) as error:
        raise ConfigError(
            f"{path}: schedule: {config.schedule!r} is not a cron expression: {error}",
            'write five fields, such as "0 3 * * *" (each day at 3:00 UTC), or null',
        ) from None


def broken(dag_id: str, path: Path, reason: str) -> DAG:
    """The DAG of a config that can't be used: tagged, unscheduled, and it fails with the reason.

    Never raises, for an id of `named_configs`: all DAGs would be gone.
    """
    reason = plain(reason)
    page = (
        f"**This volume config can't be used.**\n\n```\n{reason}\n```\n\n"
        f"Fix `{plain(str(path))}`; Airflow then reads it again."
    )
    with DAG(
        dag_id,
        schedule=None,
        doc_md=page,
        tags=["magneton", "broken"],
        is_paused_upon_creation=False,
    ) as dag:
        RefuseOperator(task_id="broken_config", reason=reason)
    return dag


def plain(text: str) -> str:
    """Text that Airflow can send and save: what isn't UTF-8, and zero bytes, become ``?``."""
    return text.replace("\0", "?").encode(errors="replace").decode()
