"""Airflow's notifiers, as a volume's config names them: called when a run has ended.

They are made when the DAG is parsed, so that a wrong name or argument shows up at once: as a
broken config, not as silence after a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from airflow.sdk import BaseNotifier

from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError


def callbacks(config: RunConfig) -> dict[str, list[BaseNotifier]]:
    """What a DAG calls after a failure and after a success.

    Raises
    ------
    ConfigError
        A notifier that can't be imported, is none, or doesn't take these arguments.
    """
    notify = config.notify
    return {
        "on_failure_callback": _notifiers("notify.failure", notify.failure),
        "on_success_callback": _notifiers("notify.success", notify.success),
    }


def _notifiers(key: str, notices: Sequence[Mapping[str, Any]]) -> list[BaseNotifier]:
    return [_notifier(key, notice["notifier"], notice["arguments"]) for notice in notices]


def _notifier(key: str, name: str, arguments: Mapping[str, Any]) -> BaseNotifier:
    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key}: {name} can't be imported: {error}",
            "install the provider that has it in Airflow's environment, or correct the name",
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise ConfigError(f"{key}: {name} is none of Airflow's notifiers")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{key}: {name} doesn't take these arguments: {error}") from None
