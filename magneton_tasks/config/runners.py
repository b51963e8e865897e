"""The config's section about where stages run: what a run may choose, and what a DAG offers."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from magneton_tasks.config.field_facts import InForm
from magneton_tasks.config.runner_names import RunnerName
from magneton_tasks.config.types import Section


class Runner(Section):
    """Where stages run."""

    offered: tuple[RunnerName, ...] = Field(
        ("local",),
        min_length=1,
        title="Offered runners",
        description="Runners that a run may choose; a DAG offers these.",
    )
    default: Annotated[RunnerName, InForm("This run")] = Field(
        "local", title="Runner", description="Runner of a run that chooses none."
    )

    @model_validator(mode="after")
    def _default_is_offered(self) -> Self:
        if len(set(self.offered)) < len(self.offered):
            raise ValueError(f"offered {list(self.offered)} names a runner twice")
        if self.default not in self.offered:
            raise ValueError(
                f"default {self.default} is not one of offered: [{', '.join(self.offered)}]"
            )
        return self
