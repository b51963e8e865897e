"""The trigger form of a volume's DAG: which fields it has, in which order, and what a run asks with them.

What people change from run to run comes first and stands open; other sections are closed, and
their titles tell the file's values.

A value that differs from the file's goes to *plan* as ``--set key=value``, and plan checks it once more
with the model itself. `config.from_form` is the list of what the form offers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param

from magneton_tasks.airflow.dag import fields
from magneton_tasks.config import from_form, renamed
from magneton_tasks.config.field_facts import OPEN
from magneton_tasks.config.read import RunConfig, uses_partition
from magneton_tasks.config.thresholds import thresholds_of
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.stage_table import CHOICES

#: From top to bottom, what stands open: keys under that heading, and what isn't a key.
_ORDER = ("segment.threshold", "thresholds", "stages", "runner.default", "partition", "restart")


@dataclass(frozen=True, slots=True)
class FormRequest:
    """What one run asks of plan, beyond the YAML file.

    Attributes
    ----------
    sets
        Values that differ from the file's, by dotted key.
    stages
        The stages to run; None: all.
    partition
        What ``{partition}`` in the paths stands for, or None.
    restart
        Compute everything anew.
    thresholds
        At which there is to be a result; none: the config's.
    """

    sets: Mapping[str, Any]
    stages: tuple[str, ...] | None
    partition: str | None
    restart: bool
    thresholds: tuple[float, ...] = ()


def form(config: RunConfig) -> dict[str, Param]:
    """The DAG's parameters: defaults are those of the YAML file."""
    offered, of_run = from_form.offered(config), from_form.run_keys(config)
    params: dict[str, Param] = {}
    for key in sorted((*from_form.SECTIONS[OPEN], *of_run), key=_ORDER.index):
        if key in of_run:
            params[key] = _RUN_PARAMS[key]()
        elif key in offered:  # Airflow opens what is in no section, and closes the others
            params |= fields.make(key, config, None)
    for heading, there in from_form.SECTIONS.items():
        shown = [key for key in there if key in offered and heading != OPEN]
        title = f"{heading}: {', '.join(fields.shown(key, config) for key in shown)}"
        for key in shown:
            params |= fields.make(key, config, title)
    return params


def _stages() -> Param:
    return Param(
        list(CHOICES),
        title="Stages",
        description="Stages to run. plan and verify always run. pool includes all that lies between segment and apply.",
        type="array",
        items={"type": "string", "enum": list(CHOICES)},
        examples=list(CHOICES),
        uniqueItems=True,
        minItems=1,
    )


def _thresholds() -> Param:
    number = r" *([01](\.\d*)?|\.\d+) *"
    return Param(
        None,
        title="Thresholds",
        description="A result at each of these, such as 0.25, 0.3, 0.4, in one run: {threshold} in the "
        "output's path stands for it. Empty: the threshold above.",
        type=["string", "null"],
        pattern=rf"^{number}(,{number})*$(?!\n)",
    )


def _partition() -> Param:
    return Param(
        None,
        title="Partition",
        description="Value of {partition} in the paths. Empty: a scheduled or backfilled run takes "
        "its logical date (UTC).",
        type=["string", "null"],
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.=+-]*$(?!\n)",
    )


def _restart() -> Param:
    return Param(
        False,
        title="Start over",
        description="Compute everything again, including what is already done.",
        type="boolean",
    )


_RUN_PARAMS = {
    "stages": _stages, "thresholds": _thresholds, "partition": _partition, "restart": _restart
}  # fmt: skip


def read(
    config: RunConfig,
    params: Mapping[str, Any],
    conf: Mapping[str, Any] | None,
    automatic_date: datetime | None,
) -> FormRequest:
    """What a run's parameters ask for.

    Parameters
    ----------
    config
        The YAML file as it is now.
    params
        The run's parameters, defaults filled in and validated by Airflow.
    conf
        What the run was given: Airflow accepts unknown keys there, we don't.
    automatic_date
        Logical date of a scheduled or backfilled run. None for a manual one, which may have none.

    Raises
    ------
    ConfigError
        A key that isn't a parameter, with the nearest one that is; a key that only the file may set.
    """
    offered = from_form.offered(config)
    given = renamed.given(conf or {}, "this run's parameters")
    key_of = {name: key for key in offered for name in fields.names(key)}
    from_form.check([key_of.get(name, name) for name in given], offered, from_form.run_keys(config))
    params = {**params, **{k: v for k, v in given.items() if k not in (conf or {})}}
    # Only what the form had when the run began: the file may offer more now.
    asked = {k: _asked(k, params, given) for k in offered if _has(k, params, given)}
    sets = {k: v for k, v in asked.items() if v != fields.value_of(config, k)}
    stages = tuple(params["stages"])
    partition = params.get("partition")
    if partition is None and automatic_date is not None and uses_partition(config):
        partition = automatic_date.astimezone(UTC).strftime(config.partition_format)
    return FormRequest(
        sets=sets,
        stages=None if set(stages) == set(CHOICES) else stages,
        partition=partition,
        restart=bool(params["restart"]),
        thresholds=_read_thresholds(params.get("thresholds")),
    )


def _read_thresholds(text: str | None) -> tuple[float, ...]:
    if not text:
        return ()
    try:
        return thresholds_of(text)
    except ValueError as error:
        raise ConfigError(f"thresholds: {error}", "list them as in 0.25, 0.3, 0.4") from None


def _has(key: str, params: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    return key in given or set(fields.names(key)) <= params.keys()


def _asked(key: str, params: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """The value of a key, of which a run may give all numbers at once, as the YAML file does."""
    several = set(fields.names(key)) - {key}
    if not several or key not in given:
        return fields.taken(key, params)
    if twice := sorted(several & given.keys()):
        raise ConfigError(f"{key} and {twice[0]} contradict each other", "give one of them")
    return given[key]
