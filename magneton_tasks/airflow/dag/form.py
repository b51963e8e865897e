"""The trigger form of a volume's DAG, made from the config's model: types, bounds and defaults.

A parameter is called like the key in the YAML file (``segment.threshold``), so there is nothing
to translate: a value that differs from the file's goes to *plan* as ``--set key=value``, and plan
checks it once more with the model itself.

`config.from_form` is the list of what it offers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from airflow.sdk import Param

from magneton_tasks.base.location import PREFIXES
from magneton_tasks.base.scoring import shipped
from magneton_tasks.config import from_form, keys, renamed
from magneton_tasks.config.read import RunConfig, uses_partition
from magneton_tasks.config.roots import PATH_KEYS, allowed_roots
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.config.thresholds import thresholds_of
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.stage_table import CHOICES

_THIS_RUN = "This run"
#: Text of the form for the threshold; the schema's names both methods.
_THRESHOLD = "Regions merge while their score is at least this affinity. A lower value merges more."


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
    offered = from_form.offered(config)
    params = {
        key: Param(_value(config, key), section=section, **_schema(key, config))
        for section, keys_there in from_form.SECTIONS.items()
        for key in keys_there
        if key in offered
    }
    return params | {key: _RUN_PARAMS[key]() for key in from_form.run_keys(config)}


def _stages() -> Param:
    return Param(
        list(CHOICES),
        title="Stages",
        description="Stages to run. plan and verify always run. pool includes all that lies between segment and apply.",
        section=_THIS_RUN,
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
        section=_THIS_RUN,
        type=["string", "null"],
        pattern=rf"^{number}(,{number})*$(?!\n)",
    )


def _partition() -> Param:
    return Param(
        None,
        title="Partition",
        description="Value of {partition} in the paths. Empty: a scheduled or backfilled run takes "
        "its logical date (UTC).",
        section=_THIS_RUN,
        type=["string", "null"],
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.=+-]*$(?!\n)",
    )


def _restart() -> Param:
    return Param(
        False,
        title="Start over",
        description="Compute everything again, including what is already done.",
        section=_THIS_RUN,
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
    from_form.check(given, offered, from_form.run_keys(config))
    params = {**params, **{k: v for k, v in given.items() if k not in (conf or {})}}
    # Only what the form had when the run began: the file may offer more now.
    sets = {k: params[k] for k in offered if k in params and params[k] != _value(config, k)}
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


def _value(config: RunConfig, key: str) -> Any:
    """The value at a dotted key, as JSON holds it."""
    value = keys.value(config, key)
    return list(value) if isinstance(value, tuple) else value


# ----------------------------------------------------------------------------- schemas


@cache
def _properties(section: str) -> dict[str, Any]:
    """JSON schemas of the keys of a section, free of references: none of them holds another model."""
    model = keys.section_of(keys.sections(RunConfig)[section])
    assert model is not None
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def _schema(key: str, config: RunConfig) -> dict[str, Any]:
    """JSON schema of a dotted key, with title and description."""
    section, leaf = keys.split(key)
    schema: dict[str, Any] = dict(_properties(section)[leaf])
    schema.pop("default", None)
    others = [s for s in schema.get("anyOf", ()) if s != {"type": "null"}]
    if len(others) == 1:  # or null: the form shows a field that may stay empty
        del schema["anyOf"]
        schema |= others[0] | {"type": [others[0]["type"], "null"]}
    if "prefixItems" in schema:
        # Without `items` the form takes an array for lines of text, and sends strings. Those of one
        # array are all alike here.
        schema["items"] = schema.pop("prefixItems")[0]
    # null is YAML's word; a form has a field that stays empty
    schema["description"] = schema["description"].replace("null: ", "Empty: ")
    if key == "segment.threshold":
        usual = "from the map" if config.method == "exact" else f"{USUAL_THRESHOLD:g}"
        schema["description"] = f"{_THRESHOLD} Empty: {usual}."
    if key == "segment.merge_function":
        schema["enum"] = sorted(shipped())
    if key == "runner.default":
        schema["enum"] = list(config.runner.offered)
    return _path_schema(schema, _value(config, key)) if key in PATH_KEYS else schema


def _path_schema(schema: dict[str, Any], default: str | None) -> dict[str, Any]:
    """Of a path: under the roots, as far as its text tells; the file's own may lie elsewhere."""
    roots = allowed_roots()
    formats = "|".join(PREFIXES)
    under = "|".join(re.escape(root.rstrip("/")) for root in roots)
    own = f"|{re.escape(default)}" if default else ""
    told = f" It must lie under {' or '.join(roots)}."
    return {
        **schema,
        "type": ["string", "null"] if default is None else "string",
        "pattern": rf"^((({formats})://)?(file://)?({under})/.+{own})$(?!\n)",
        "description": schema["description"] + told,
    }
