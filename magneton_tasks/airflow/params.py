"""The trigger form of a volume's DAG, made from the config's model: types, bounds and defaults.

A parameter is called like the key in the YAML file (``segment.threshold``), so there is nothing
to translate: a value that differs from the file's goes to *plan* as ``--set key=value``, and plan
checks it once more with the model itself.

Only numbers and choices are here (DESIGN 3.12): no parameter can name a command, a host or a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from airflow.sdk import Param

from magneton_tasks.config import RunConfig, known_keys, nearest
from magneton_tasks.errors import ConfigError
from magneton_tasks.schema import UNREAD_BY_METHOD
from magneton_tasks.scoring import shipped

#: Config keys that the form offers, by the heading they stand under.
SECTIONS = {
    "Segment": (
        "segment.threshold",
        "segment.merge_function",
        "segment.supervoxels",
        "segment.aff_thresholds",
        "segment.interior_threshold",
        "segment.min_distance",
        "segment.min_size_vox",
    ),
    "Exact method": (
        "exact.s2",
        "exact.dust",
        "exact.advanced.t_low",
        "exact.advanced.t_high",
        "exact.advanced.s_min",
        "exact.advanced.t_size",
    ),
    "Blocks": ("block.size", "block.overlap", "input.mip"),
    "Pool": (
        "pool.rule",
        "pool.min_overlap_vox",
        "pool.min_frac",
        "pool.min_iou",
        "pool.largest_object_warning",
    ),
    "Output": ("apply.chunk_size", "apply.encoding", "apply.mips"),
}
CONFIG_KEYS = tuple(key for keys in SECTIONS.values() for key in keys)
#: Stages that a run may be limited to; plan and verify always run, pool implies count.
CHOOSABLE_STAGES = ("segment", "pool", "apply")
#: Offered where the config offers several runners.
RUNNER = "runner.default"
RUN_KEYS = ("stages", "partition", "restart")


@dataclass(frozen=True, slots=True)
class Request:
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
    """

    sets: Mapping[str, Any]
    stages: tuple[str, ...] | None
    partition: str | None
    restart: bool


def form(config: RunConfig) -> dict[str, Param]:
    """The DAG's parameters: defaults are those of the YAML file."""
    offered = offered_keys(config)
    params = {
        key: Param(_value(config, key), section=section, **_schema(key))
        for section, keys in SECTIONS.items()
        for key in keys
        if key in offered
    }
    if RUNNER in offered:
        schema = {**_schema(RUNNER), "enum": list(config.runner.offered)}
        params[RUNNER] = Param(_value(config, RUNNER), section="This run", **schema)
    return params | _run_params()


def offered_keys(config: RunConfig) -> tuple[str, ...]:
    """The config keys that the form offers: those that the config's method reads."""
    unread = UNREAD_BY_METHOD[config.method]
    keys = tuple(k for k in CONFIG_KEYS if not k.startswith(unread))
    return (*keys, RUNNER) if len(config.runner.offered) > 1 else keys


def _run_params() -> dict[str, Param]:
    return {
        "stages": Param(
            list(CHOOSABLE_STAGES),
            title="Stages",
            description="Stages to run; plan and verify always do, and pool implies count.",
            section="This run",
            type="array",
            items={"type": "string", "enum": list(CHOOSABLE_STAGES)},
            examples=list(CHOOSABLE_STAGES),
            uniqueItems=True,
            minItems=1,
        ),
        "partition": Param(
            None,
            title="Partition",
            description="What {partition} in the paths stands for; a scheduled or backfilled run "
            "takes its logical date (UTC) when this is empty.",
            section="This run",
            type=["string", "null"],
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.=+-]*$",
        ),
        "restart": Param(
            False,
            title="Start over",
            description="Compute everything anew, also what is already done.",
            section="This run",
            type="boolean",
        ),
    }


def read(
    config: RunConfig,
    params: Mapping[str, Any],
    conf: Mapping[str, Any] | None,
    automatic_date: datetime | None,
) -> Request:
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
        A key that isn't a parameter, with the nearest one that is.
    """
    keys = offered_keys(config)
    for key in conf or {}:
        _refuse_unknown(key, keys)
    sets = {key: params[key] for key in keys if params[key] != _value(config, key)}
    stages = tuple(params["stages"])
    partition = params["partition"]
    if partition is None and automatic_date is not None and uses_partition(config):
        partition = automatic_date.astimezone(UTC).strftime(config.partition_format)
    return Request(
        sets=sets,
        stages=None if set(stages) == set(CHOOSABLE_STAGES) else stages,
        partition=partition,
        restart=bool(params["restart"]),
    )


def uses_partition(config: RunConfig) -> bool:
    """Whether ``{partition}`` stands in the config's paths."""
    paths = config.paths
    return any("{partition}" in path for path in (paths.input, paths.output, paths.work))


def _refuse_unknown(key: str, keys: tuple[str, ...]) -> None:
    offered = (*keys, *RUN_KEYS)
    if key in offered:
        return
    if key in known_keys():
        raise ConfigError(
            f"{key} can't be set by a run's parameters",
            "change it in the volume's YAML file; parameters are: " + ", ".join(offered),
        )
    raise ConfigError(
        f"{key} is not a parameter{nearest(key, offered)}",
        "parameters are: " + ", ".join(offered),
    )


def _value(config: RunConfig, key: str) -> Any:
    """The value at a dotted key, as JSON holds it."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return list(value) if isinstance(value, tuple) else value


# ----------------------------------------------------------------------------- schemas


@cache
def _model() -> dict[str, Any]:
    return RunConfig.model_json_schema()


def _schema(key: str) -> dict[str, Any]:
    """JSON schema of a dotted key, with title and description, free of references."""
    *sections, leaf = key.split(".")
    definition = _model()
    for section in sections:
        definition = _resolve(definition["properties"][section])
    schema = _resolve(definition["properties"][leaf])
    schema.pop("default", None)
    if "prefixItems" in schema:
        # Without `items` the form takes an array for lines of text, and sends strings. Those of one
        # array are all alike here.
        schema["items"] = schema.pop("prefixItems")[0]
    if key == "segment.merge_function":
        schema["enum"] = sorted(shipped())
    return schema


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    rest = {k: v for k, v in schema.items() if k != "$ref"}
    return {**_model()["$defs"][reference.rpartition("/")[2]], **rest}
