"""A DAG's page in the web interface: what it makes, how to run it, and the config as it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from magneton_tasks.config.read import RunConfig, uses_partition

#: The C library's takes a quarter of the time, which is most of what a DAG's parse takes.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def page(dag_id: str, path: Path, config: RunConfig) -> str:
    """Markdown."""
    return "\n\n".join(_parts(dag_id, path, config)) + "\n"


def _parts(dag_id: str, path: Path, config: RunConfig) -> Iterator[str]:
    paths = config.paths
    yield f"Instance segmentation of `{paths.input}` into `{paths.output}`."
    yield "### How to run it"
    yield "\n".join(f"- {line}" for line in _ways(dag_id, path, config))
    yield (
        "The log of the task *plan* says what a run will take (memory, time, files). A rerun does "
        "only what isn't done yet; skipped tasks had nothing to do. Values from a form or from `--conf` apply to that run only."
    )
    text = yaml.dump(config.resolved(), Dumper=_Dumper, sort_keys=False, default_flow_style=None)
    yield "### The config"
    yield f"`{path}`, defaults filled in:"
    yield f"```yaml\n{text}```"


def _ways(dag_id: str, path: Path, config: RunConfig) -> Iterator[str]:
    asks = uses_partition(config)
    conf = {"partition": "2026-01-31"} if asks else {"segment.threshold": config.segment.threshold}
    yield (
        f"**By hand**: the button *Trigger*{' (fill in its field *Partition*)' if asks else ''}, or "
        f"`scripts/airflow dags trigger {dag_id} --conf '{json.dumps(conf)}'` in the project's folder "
        "(if `make up` didn't start this Airflow: with its own `airflow`)."
    )
    if config.schedule is None:
        yield "**On a schedule**: not yet. Add a `schedule:` to the config, such as `0 3 * * *`."
    else:
        yield f"**On a schedule**: `{config.schedule}` (UTC), after the DAG is switched on. The latest past date then runs at once."
    if asks and config.schedule is not None:
        yield (
            "**Backfill** of past partitions: *Trigger*, then *Backfill*, or "
            f"`scripts/airflow backfill create --dag-id {dag_id} --from-date 2026-01-01 --to-date 2026-01-31T23:59`."
        )
    elif asks:
        yield "**Backfill** of past partitions needs a `schedule:`, which says which dates there are."
    yield f"**Without Airflow**: `magneton run {path}`; `magneton status` and `magneton view` tell more."
