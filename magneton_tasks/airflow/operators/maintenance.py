"""The operators and parameters of the DAG ``magneton_maintenance``: `magneton maintain`, volume by volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context, Param
from airflow.sdk.exceptions import AirflowFailException

from magneton_tasks.airflow.operators.process import CommandOperator
from magneton_tasks.clean import kinds
from magneton_tasks.config.read import find_configs, load_config, nearest
from magneton_tasks.errors import MagnetonError
from magneton_tasks.runners.command import maintain_command

ALL = "all"


def form(places: str) -> dict[str, Param]:
    """The DAG's parameters."""
    names = dict.fromkeys(path.stem for path in find_configs(places))
    return {
        "dry_run": Param(
            False,
            title="Dry run",
            description="List what would be freed; change nothing.",
            type="boolean",
        ),
        "keep_days": Param(
            30,
            title="Keep (days)",
            description="Free only what nothing has written to for this many days.",
            type="number",
            minimum=0,
        ),
        "what": Param(
            list(kinds.MAINTAINED),
            title="What",
            description=f"{kinds.meanings()} {' and '.join(kinds.IF_VERIFIED)} are freed only if their "
            "run is verified; without records, a rerun writes the whole output again.",
            type="array",
            items={"type": "string", "enum": list(kinds.NAMES)},
            examples=list(kinds.NAMES),
            uniqueItems=True,
            minItems=1,
        ),
        "volume": Param(
            ALL,
            title="Volume",
            description="Name of one volume config, or all.",
            type="string",
            enum=[ALL, *names],
        ),
    }


class VolumesOperator(BaseOperator):
    """Lists the configs to maintain: ``[{"config": path, "name": "cortex"}, ...]``."""

    def __init__(self, *, places: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.places = places

    def execute(self, context: Context) -> list[dict[str, str]]:
        params = context["params"]
        for key in context["dag_run"].conf or {}:
            if key not in params:
                raise AirflowFailException(f"{key} is not a parameter{nearest(key, params)}")
        wanted = params["volume"]
        found = []
        for path in find_configs(self.places):
            if wanted not in (ALL, path.stem):
                continue
            try:
                load_config(path)
            except MagnetonError as error:  # its own DAG tells, too
                self.log.warning("left out: %s", error)
            else:
                found.append({"config": str(path), "name": path.stem})
        return found


class MaintainOperator(CommandOperator):
    """Cleans one volume, all partitions of it; returns the bytes freed."""

    template_fields: Sequence[str] = ("volume",)

    def __init__(self, *, volume: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.volume = volume

    def command(self, context: Context) -> Sequence[str]:
        params = context["params"]
        return maintain_command(
            self.volume["config"], params["what"], params["keep_days"], params["dry_run"]
        )
