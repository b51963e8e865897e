"""The config's sections that only Airflow reads: late input, and who is told how a run ended."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from magneton_tasks import units
from magneton_tasks.schema_types import Section, check_url


def _seconds(value: object) -> object:
    return units.parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[float, Field(gt=0), BeforeValidator(_seconds)]


class WaitForInput(Section):
    """What a run does whose affinity map isn't there yet."""

    timeout: Duration | None = Field(
        None,
        title="Wait at most",
        description="How long a run waits for its input, such as 12h, without taking up a slot; null: it doesn't.",
    )
    poll: Duration = Field(
        60.0, title="Look every", description="How often it looks meanwhile, such as 30s or 10m."
    )
    marker: str | None = Field(
        None,
        min_length=1,
        title="Done marker",
        description="File that is written once the input is complete: a name in the input's directory, or a path or URL, in which {partition} may stand; null: the input's metadata.",
    )
    missing: Literal["fail", "skip"] = Field(
        "fail",
        title="Missing input",
        description="What becomes of a run whose input isn't there (in time): fail, or skip: it ends green and does nothing.",
    )

    @field_validator("marker")
    @classmethod
    def _marker_is_a_place(cls, value: str | None) -> str | None:
        if value is not None:  # a plain name lies in the input's directory
            named = "://" not in value and not value.startswith(("/", "~", "$", "file:"))
            check_url(f"/{value}" if named else value)
        return value

    @property
    def is_needed(self) -> bool:
        """Whether a run looks for its input before it plans."""
        return self.timeout is not None or self.missing == "skip"


class Notice(Section):
    """One of Airflow's notifiers."""

    notifier: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    arguments: dict[str, Any] = Field(default_factory=dict)


Notices = tuple[dict[str, Any], ...]


class Notify(Section):
    """Who is told how a run ended, by Airflow's notifiers."""

    failure: Notices = Field(
        (),
        title="After a failure",
        description="Airflow notifiers that are called when a run has failed: a list of {notifier: import path of the class, arguments: {its arguments, which are templates}}.",
    )
    success: Notices = Field(
        (),
        title="After a success",
        description="As notify.failure, when a run has ended green.",
    )

    @field_validator("failure", "success")
    @classmethod
    def _are_notices(cls, value: Notices) -> Notices:
        return tuple(Notice.model_validate(v).model_dump() for v in value)
