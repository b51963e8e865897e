"""Which keys each choice doesn't read, and what to say where one is set all the same.

A key or section says itself which choices read it (`field_facts.OnlyFor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import get_args

from pydantic import BaseModel

from magneton_tasks.config import field_facts, keys
from magneton_tasks.config.field_facts import OnlyFor
from magneton_tasks.config.types import Section

#: What to do about such a key in a file.
ADD_METHOD = (
    "Add a line: `method: overlap` keeps what waterz made; `method: exact`, without this key, "
    "computes it again"
)
CHANGE_METHOD = "remove it or change method"


@cache
def table(model: type[BaseModel]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """By choice (a dotted key) and its value, the sections and dotted keys that aren't read."""
    rows = [(k, only) for k, facts in field_facts.of(model, OnlyFor).items() for only in facts]
    schema = keys.fields(model)
    return {
        choice: {
            value: tuple(
                k for k, only in rows if only.choice == choice and value not in only.values
            )
            for value in get_args(schema[choice].annotation)
        }
        for choice in dict.fromkeys(only.choice for _, only in rows)
    }


def unread_keys(model: type[BaseModel], choice: str, value: object) -> tuple[str, ...]:
    """The sections and dotted keys that aren't read once a choice has a value; none of other keys."""
    return table(model).get(choice, {}).get(str(value), ())


def refuse_unread(section: Section, choice: str) -> None:
    """Refuse keys of a section that its own choice doesn't read."""
    _, selector = keys.split(choice)
    value = getattr(section, selector)
    for leaf, facts in field_facts.of(type(section), OnlyFor).items():
        for only in facts:
            if (
                only.choice == choice
                and value not in only.values
                and leaf in section.model_fields_set
            ):
                raise ValueError(
                    f"{leaf} is not read by {selector}: {value} (only by {', '.join(only.values)}); remove it or change {selector}"
                )
