"""Time limits as Slurm writes them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from magneton_tasks.base import units

_TIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")


def parse_time_limit(text: str) -> int:
    """Seconds of ``"00:30:00"``, ``"2-12:00:00"`` or a duration such as ``"30m"``.

    Raises
    ------
    ValueError
        Where it isn't a time limit; a number alone isn't.
    """
    found = _TIME.fullmatch(text)
    if found is not None:
        days, hours, minutes, seconds = (int(v or 0) for v in found.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    else:
        try:
            total = round(units.parse_duration(text))
        except ValueError:
            raise ValueError(
                f'{text!r} is not a time limit; write "HH:MM:SS", "D-HH:MM:SS", 30m or 12h'
            ) from None
    if total < 60:
        raise ValueError(f"{text!r} is less than a minute, which is the least that Slurm counts")
    return total


def refuse_number(value: object) -> object:
    # YAML reads 1:30:00 without quotes as the number 5400
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError('a time limit is text: write it in quotes, such as "01:30:00"')
    return value


def check_time_limit(value: str) -> str:
    parse_time_limit(value)
    return value


Time = Annotated[str, BeforeValidator(refuse_number), AfterValidator(check_time_limit)]
