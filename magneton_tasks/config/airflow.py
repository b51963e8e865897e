"""The config's sections that only Airflow reads: late input, and who is told how a run ended."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from magneton_tasks.base import units
from magneton_tasks.config.types import Section, check_url


def _seconds(value: object) -> object:
    return units.parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[float, Field(gt=0), BeforeValidator(_seconds)]


class WaitForInput(Section):
    """What a run does if its affinity map is not there yet."""

    timeout: Duration | None = Field(
        None,
        title="Wait at most",
        description="How long a run waits for its input, such as 12h. Waiting takes no slot. null: a run does not wait.",
    )
    poll: Duration = Field(
        60.0,
        title="Check every",
        description="Time between two looks for the input, such as 30s or 10m.",
    )
    marker: str | None = Field(
        None,
        min_length=1,
        title="Done marker",
        description="File that appears when the input is complete: a name in the input's directory, a path or a URL. It may hold {partition}. null: the input's metadata.",
    )
    missing: Literal["fail", "skip"] = Field(
        "fail",
        title="Missing input",
        description="How a run ends if its input is not there in time. fail: it fails. skip: it ends green and does nothing.",
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
    """Whom Airflow's notifiers tell how a run ended."""

    failure: Notices = Field(
        (),
        title="After a failure",
        description="Airflow notifiers to call after a run has failed: a list of {notifier: import path of the class, arguments: {...}}. Airflow renders the arguments as templates.",
    )
    success: Notices = Field(
        (),
        title="After a success",
        description="Airflow notifiers to call after a run has ended green; the form is that of notify.failure.",
    )

    @field_validator("failure", "success")
    @classmethod
    def _are_notices(cls, value: Notices) -> Notices:
        return tuple(Notice.model_validate(v).model_dump() for v in value)
