"""Dataclasses as JSON, and back: pydantic reads and writes them by their types.

It takes a millisecond of CPU time per dataclass, once in a process, to make a type's reader. So what
every task reads as it starts stays built by hand (`plan.plan`: .2 ms instead of 11), and so do the
lines of records, of which there are 10^5 (`work.record`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def to_json(value: object) -> bytes:
    """A dataclass as JSON for a file of ours."""
    return json.dumps(_adapter(type(value)).dump_python(value, mode="json"), indent=1).encode()


def of_json(kind: type[T], text: str | bytes) -> T:
    """Back from `to_json`; fields that ``kind`` doesn't have are passed over.

    Raises
    ------
    ValueError
        It isn't JSON, or not of this type; says where.
    """
    found: T = _adapter(kind).validate_json(text)
    return found


def of_data(kind: type[T], data: Mapping[str, object]) -> T:
    """Back from what JSON makes of a dataclass; errors as `of_json`."""
    found: T = _adapter(kind).validate_python(data)
    return found


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        from pydantic import TypeAdapter  # a fifth of a second

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
