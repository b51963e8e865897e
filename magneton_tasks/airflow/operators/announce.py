"""A volume's output as an Airflow asset: DAGs that mesh or analyse it start when it has changed.

The asset is called like the DAG. An event holds the output's URL (of several thresholds that of the
lowest, and all of them as ``outputs``), the partition, run and attempt;
where the paths hold ``{partition}``, it bears the partition as its key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from magneton_tasks.config.thresholds import outputs_of
from magneton_tasks.plan.plan import Plan, digest
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import WorkPaths

#: So many of the latest events are looked through for the last one of a partition.
_EVENTS = 500


class AnnounceOperator(BaseOperator):
    """Announces the output, once for each content: a rerun that changed nothing is skipped."""

    template_fields = ("attempt",)

    def __init__(self, *, asset: Asset, attempt: str, **kwargs: Any) -> None:
        # The asset's earlier events tell what was announced already.
        super().__init__(outlets=[asset], inlets=[asset], **kwargs)
        self.asset = asset
        self.attempt = attempt

    def execute(self, context: Context) -> dict[str, Any]:
        attempt = Attempt.open(Path(self.attempt))
        plan, config = attempt.plan, attempt.frozen_config()
        if "apply" not in plan.stages:
            raise AirflowSkipException("this run wrote no output")
        outputs = outputs_of(config, plan.thresholds)
        event: dict[str, Any] = {
            "output": outputs[0],
            **({"outputs": outputs} if plan.cuts else {}),
            "partition": plan.partition,
            "run": plan.run,
            "attempt": self.attempt,
            "content": content(WorkPaths(Path(config.paths.work)), plan),
        }
        if self._last(context, plan.partition) == event["content"]:
            raise AirflowSkipException("this output has been announced already")
        announced = context["outlet_events"][self.asset]
        announced.extra = event
        if plan.partition is not None:
            announced.add_partitions(plan.partition)
        self.log.info("announced %s: %s", self.asset.name, ", ".join(outputs))
        return event

    def _last(self, context: Context, partition: str | None) -> object:
        """The content of the partition's last event; None where it has none."""
        for event in context["inlet_events"][self.asset].ascending(False).limit(_EVENTS):
            extra = event.extra or {}
            if extra.get("partition") == partition:
                return extra.get("content")
        return None


def content(work: WorkPaths, plan: Plan) -> str:
    """What tells one content of the output from another: settings, and the pool it was written with."""
    if plan.cuts:
        return digest([content(work, each) for each in plan.each()])
    pool = Manifest(work.records("pool", plan.fingerprints.of("pool"))).read({0})
    record = pool[0].valid if 0 in pool else None
    return digest(plan.fingerprints.apply, record.input if record else None)
