"""What the config's models are made of: bounded numbers, sizes, URLs, and the base of all sections."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from magneton_tasks.base import units
from magneton_tasks.base.location import require_absolute
from magneton_tasks.base.worker_env import is_airflows
from magneton_tasks.errors import ConfigError


def check_size(value: object) -> object:
    return None if value is None else units.parse_size(value)  # type: ignore[arg-type]


#: The largest integer of a config: beyond, numpy and tables have none.
MOST_INT = 2**63 - 1
PositiveInt = Annotated[int, Field(gt=0, le=MOST_INT, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MOST_INT, strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive3 = tuple[PositiveInt, PositiveInt, PositiveInt]
NonNegative3 = tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
_Integer = Annotated[int, Field(ge=-MOST_INT, le=MOST_INT)]
Integer3 = tuple[_Integer, _Integer, _Integer]
_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveSize3 = tuple[_Length, _Length, _Length]
Memory = Annotated[PositiveInt | None, BeforeValidator(check_size)]
#: How much more the next try gets, as a factor.
Growth = Annotated[float, Field(gt=1, le=10)]
#: Stands in `paths.output` for the threshold that a result was cut at.
THRESHOLD = "{threshold}"
#: Name of an environment variable.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_passed_on(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what isn't a variable's name, and variables of Airflow's, which no worker gets."""
    for name in names:
        if not VARIABLE.fullmatch(name):
            raise ValueError(
                "must be names of variables; their values come from the environment of the process that starts the work"
            )
        if is_airflows(name):
            raise ValueError(
                f"{name} holds what only Airflow may know (settings, connections, its database); workers get credentials of their own, such as AWS_ACCESS_KEY_ID"
            )
    return names


def check_most(memory: int | None, max_memory: int | None) -> None:
    """Refuse a first try that has more memory than any may have."""
    if memory and max_memory and memory > max_memory:
        raise ValueError("max_memory is less than memory; raise it, or lower memory")


def check_url(value: str) -> str:
    """Refuse a URL or path that can't be opened, or isn't absolute; see `require_absolute`."""
    try:
        require_absolute(value)
    except ConfigError as error:
        raise ValueError("; ".join(filter(None, (error.what, error.hint)))) from None
    return value


Url = Annotated[str, Field(min_length=1), AfterValidator(check_url)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values don't change after reading."""

    # A section is checked as a part of RunConfig, the only model that a run has to build; the
    # defaults of sections are constructed without a check for the same reason: .03 CPU s a process.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
