"""Dotted keys (``segment.threshold``): the one place that walks them.

Three things hold them: the schema (pydantic models), a config (a model's values), and plain data
(nested mappings, as YAML and JSON have them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

#: Instead of a value, where data has none at a key.
MISSING: Final = object()


def split(key: str) -> tuple[str, str]:
    """Section and last part; the section of a key at the top is empty."""
    section, _, leaf = key.rpartition(".")
    return section, leaf


def is_in(key: str, section: str) -> bool:
    """Whether a key is ``section``, or stands in it."""
    return key == section or key.startswith(f"{section}.")


# ---------------------------------------------------------------------------- of a schema


@cache
def fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """All fields that hold a value, in the schema's order; those of sections inside it too."""
    return dict(_fields(model, ""))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is None:
            yield prefix + name, field
        else:
            yield from _fields(inner, f"{prefix}{name}.")


@cache
def sections(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """All fields that hold a section, in the schema's order."""
    return dict(_sections(model, ""))


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            yield prefix + name, field
            yield from _sections(inner, f"{prefix}{name}.")


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of the section that a field holds; None for a plain value."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


# ---------------------------------------------------------------------------- of a config


def value(config: BaseModel, key: str) -> object:
    """What stands at a key of a config; None below a section that is null."""
    found: object = config
    for name in key.split("."):
        found = None if found is None else getattr(found, name)
    return found


# ---------------------------------------------------------------------------- of plain data


def get(data: object, key: str) -> object:
    """What stands at a key; None below a section that is null, `MISSING` where there is none."""
    for name in key.split("."):
        if data is None:
            return None
        if not isinstance(data, Mapping) or name not in data:
            return MISSING
        data = data[name]
    return data


def has(data: object, key: str) -> bool:
    """Whether a key or section is there, be it null."""
    section, leaf = split(key)
    inner = get(data, section) if section else data
    return isinstance(inner, Mapping) and leaf in inner


def put(data: MutableMapping[str, object], key: str, value: object) -> None:
    """Set a key; sections that are missing or null are made.

    Raises
    ------
    KeyError
        A plain value stands where a section should: its dotted name.
    """
    *names, leaf = key.split(".")
    for depth, name in enumerate(names, 1):
        inner = data.get(name)
        if inner is None:
            inner = data[name] = {}
        if not isinstance(inner, MutableMapping):
            raise KeyError(".".join(names[:depth]))
        data = inner
    data[leaf] = value


def drop(data: MutableMapping[str, object], key: str) -> None:
    """Remove a key or section, where it is."""
    section, leaf = split(key)
    inner = get(data, section) if section else data
    if isinstance(inner, MutableMapping):
        inner.pop(leaf, None)


def flat(data: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """All values by dotted key; an empty mapping holds none."""
    found: dict[str, object] = {}
    for key, inner in data.items():
        if isinstance(inner, Mapping):
            found |= flat(inner, f"{prefix}{key}.")
        else:
            found[prefix + key] = inner
    return found
