"""The fields of the trigger form, made from the config's model: types, bounds, titles and texts.

A field is called like the key in the YAML file (``segment.threshold``). Airflow edits lists of numbers as
JSON, so a key with several numbers has a field for each: ``block.size.z``, ``block.size.y``,
``block.size.x``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from airflow.sdk import Param

from magneton_tasks.base.location import PREFIXES
from magneton_tasks.base.scoring import shipped
from magneton_tasks.config import keys
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.roots import PATH_KEYS, allowed_roots
from magneton_tasks.config.segment import USUAL_THRESHOLD

#: Text of the form for the threshold; the schema's names both methods.
_THRESHOLD = "Regions merge while their score is at least this affinity. A lower value merges more."
#: What the numbers of a key are called, by how many they are.
_NUMBERS = {2: ("low", "high"), 3: ("z", "y", "x")}


def names(key: str) -> tuple[str, ...]:
    """The fields of a key: one, or one for each of its numbers."""
    section, leaf = keys.split(key)
    numbers = _properties(section)[leaf].get("prefixItems")
    return tuple(f"{key}.{n}" for n in _NUMBERS[len(numbers)]) if numbers else (key,)


def make(key: str, config: RunConfig, section: str | None) -> dict[str, Param]:
    """The fields of a key by name; their defaults are the config's.

    Parameters
    ----------
    section
        What they stand under; None: in the part that stands open.
    """
    under: dict[str, Any] = {"section": section} if section else {}
    value, schema = value_of(config, key), _schema(key, config)
    several = names(key)
    if several == (key,):
        return {key: Param(value, **under, **schema)}
    made = {}
    for name, schema_of_one, number in zip(several, _of_numbers(schema), value, strict=True):
        made[name] = Param(number, **under, **schema_of_one)
    return made


def shown(key: str, config: RunConfig) -> str:
    """A key and its value in the config, in few words: ``block size 256 x 256 x 256``."""
    value = value_of(config, key)
    title = str(_schema(key, config)["title"]).split(" (", maxsplit=1)[0]
    if not title[:2].isupper():
        title = title[0].lower() + title[1:]
    if value is None:
        return f"no {title}"
    if isinstance(value, list):
        return f"{title} {(' x ' if len(value) > 2 else ' to ').join(f'{n:g}' for n in value)}"
    return f"{title} {_end_of(value) if key in PATH_KEYS else value}"


def _end_of(path: str) -> str:
    """The last two names of a path; all of it would fill a title."""
    names_there = path.rstrip("/").split("/")
    return path if len(names_there) <= 2 else f".../{'/'.join(names_there[-2:])}"


def taken(key: str, params: Mapping[str, Any]) -> Any:
    """The value of a key in a run's parameters, as JSON holds it.

    Raises
    ------
    KeyError
        They don't hold all of its fields.
    """
    several = names(key)
    return params[key] if several == (key,) else [params[name] for name in several]


def value_of(config: RunConfig, key: str) -> Any:
    """The value of a key in the config, as JSON holds it."""
    value = keys.value(config, key)
    return list(value) if isinstance(value, tuple) else value


# ----------------------------------------------------------------------------- schemas
@cache
def _properties(section: str) -> dict[str, Any]:
    """JSON schemas of the keys of a section, free of references: none of them holds another model."""
    model = keys.section_of(keys.sections(RunConfig)[section])
    assert model is not None
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def _schema(key: str, config: RunConfig) -> dict[str, Any]:
    """JSON schema of a dotted key, with title and description."""
    section, leaf = keys.split(key)
    schema: dict[str, Any] = dict(_properties(section)[leaf])
    schema.pop("default", None)
    others = [s for s in schema.get("anyOf", ()) if s != {"type": "null"}]
    if len(others) == 1:  # or null: the form shows a field that may stay empty
        del schema["anyOf"]
        schema |= others[0] | {"type": [others[0]["type"], "null"]}
    # null is YAML's word; a form has a field that stays empty
    schema["description"] = schema["description"].replace("null: ", "Empty: ")
    if key == "segment.threshold":
        usual = "from the map" if config.method == "exact" else f"{USUAL_THRESHOLD:g}"
        schema["description"] = f"{_THRESHOLD} Empty: {usual}."
    if key == "segment.merge_function":
        schema["enum"] = sorted(shipped())
    if key == "runner.default":
        schema["enum"] = list(config.runner.offered)
        schema["description"] = "Where this run's stages work."
    return _path_schema(schema, value_of(config, key)) if key in PATH_KEYS else schema


def _path_schema(schema: dict[str, Any], default: str | None) -> dict[str, Any]:
    """Of a path: under the roots, as far as its text tells; the file's own may lie elsewhere."""
    roots = allowed_roots()
    formats = "|".join(PREFIXES)
    under = "|".join(re.escape(root.rstrip("/")) for root in roots)
    own = f"|{re.escape(default)}" if default else ""
    told = f" It must lie under {' or '.join(roots)}."
    return {
        **schema,
        "type": ["string", "null"] if default is None else "string",
        "pattern": rf"^((({formats})://)?(file://)?({under})/.+{own})$(?!\n)",
        "description": schema["description"] + told,
    }


def _of_numbers(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """JSON schema of each number of a key, with title and description."""
    made = []
    for name, number in zip(
        _NUMBERS[len(schema["prefixItems"])], schema["prefixItems"], strict=True
    ):
        title = re.sub(r"(?= \(|$)", f", {name}", schema["title"], count=1)
        text = schema["description"].replace("[z, y, x] in voxels", f"along {name}, in voxels")
        made.append({**number, "title": title, "description": text})
    return made
