"""Writes docs/config.md, the reference of all config keys, from the schema.

``python scripts/config_reference.py`` rewrites the page; ``--check`` only says whether it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from magneton_tasks.config import (
    airflow as schema_airflow,
)
from magneton_tasks.config import keys, time_limit
from magneton_tasks.config import (
    types as schema_types,
)
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.template import one_line

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"
HEAD = """\
# Config reference

<!-- Written by scripts/config_reference.py: change the schema, then run that script. -->

One YAML file describes one volume. Three keys are required: `paths.input`, `paths.output` and `paths.work`. All other keys have defaults.

- Coordinates and sizes are z, y, x.
- The paths and `wait_for_input.marker` may hold `{partition}`.
- An unknown key is an error. So is a key that the chosen method, rule or supervoxels do not read.
- `magneton config show` prints a config with all defaults filled in; `--source` adds where each value comes from.
- `magneton config schema` prints the JSON schema.
- `--set segment.threshold=0.6` overrides one value for one run.
"""
#: What a field takes whose text a function checks, by that function.
CHECKED = {
    schema_types.check_size: "size such as 8GiB",
    schema_types.check_url: "URL or absolute path",
    schema_airflow._seconds: "duration such as 12h, number of seconds",
    time_limit.check_time_limit: '"HH:MM:SS", "D-HH:MM:SS", duration such as 30m',
}
#: What a key takes whose model says less than its checks do.
SAID = {
    "schedule": "cron expression, or null",
    "partition_format": "strftime format",
    "paths.work": "absolute path",
    "input.channels": "order of the letters z, y and x, or 3 different integers ≥ 0",
    "segment.merge_function": "mean, aff<quantile>_his256, name in waterz",
    "wait_for_input.marker": "name, absolute path, URL, or null",
    "docker.engine": "address that begins with unix://, tcp://, ssh:// or npipe://, or null",
    "docker.environment": "list of variables' names",
    "docker.credentials": "list of absolute paths",
    "slurm.environment": "list of variables' names",
    "slurm.path_map": "mapping of absolute paths",
    "slurm.extra_args": "mapping of options to text, integer, true or null",
}
#: What a run does without an optional section.
WITHOUT = {"box": "the whole volume is segmented"}
TYPES = {str: "text", int: "integer", float: "number", bool: "true or false"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def page() -> str:
    """The whole page."""
    by_section: dict[str, dict[str, FieldInfo]] = {}
    for key, field in keys.fields(RunConfig).items():
        by_section.setdefault(keys.split(key)[0], {})[key] = field
    parts = [HEAD, "## Top level\n", _table(by_section[""])]
    for name, section in keys.sections(RunConfig).items():
        is_optional = type(None) in get_args(section.annotation)
        without = f" This section is optional: without it, {WITHOUT.get(name, 'none are made')}."
        parts += [
            f"## {name}\n",
            f"{_first_line(keys.section_of(section))}{without if is_optional else ''}\n",
            _table(by_section.get(name, {})),
        ]
    return "\n".join(parts)


def _table(fields: dict[str, FieldInfo]) -> str:
    lines = ["| key | meaning | default | allowed values |", "|---|---|---|---|"]
    for key, field in fields.items():
        cells = (
            f"`{key}`",
            _text(field.description or ""),
            _default(field),
            _text(allowed(key, field)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _text(words: str) -> str:
    """Words in a cell, where ``|`` would end it and ``<`` begin a tag."""
    return words.replace("|", r"\|").replace("<", r"\<")


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else f"`{one_line(field.default)}`"


def allowed(key: str, field: FieldInfo) -> str:
    """The values that a key takes, in words."""
    return SAID.get(key) or _words(field.annotation, tuple(field.metadata))


def _words(kind: Any, metadata: tuple[Any, ...]) -> str:
    """The same of a type and what is annotated to it."""
    if hasattr(kind, "__metadata__"):  # Annotated: what it holds, with its notes
        return _words(kind.__origin__, (*kind.__metadata__, *metadata))
    functions = (getattr(note, "func", None) for note in metadata)
    checked = next((CHECKED[f] for f in functions if f in CHECKED), None)
    arguments = get_args(kind)
    if type(None) in arguments:
        others = [a for a in arguments if a is not type(None)]
        return f"{checked or ' or '.join(_words(a, metadata) for a in others)}, or null"
    if checked is not None:
        return checked
    origin = get_origin(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is dict:
        return "mapping of names to values"
    if arguments:
        return " or ".join(_words(a, ()) for a in arguments)
    bounds = _bounds(metadata)
    return f"{TYPES[kind]} {bounds}".rstrip()


def _tuple(arguments: tuple[Any, ...]) -> str:
    if arguments[-1] is Ellipsis:
        inner = arguments[0]
        is_mapping = get_origin(inner) is dict
        return f"list of {'mappings' if is_mapping else _words(inner, ())}"
    first, *rest = _words(arguments[0], ()).split(" ", 1)
    return " ".join([f"{len(arguments)} {first}s", *rest])


def _bounds(metadata: tuple[Any, ...]) -> str:
    """``≥ 0, ≤ 1``, without the largest integer that can be stored: nobody meets that bound."""
    found: dict[str, Any] = {}
    for note in metadata:
        for one in (note, *getattr(note, "metadata", ())):
            for name in BOUNDS:
                value = getattr(one, name, None)
                if value is not None and abs(value) < schema_types.MOST_INT:
                    found[name] = value
    return ", ".join(f"{BOUNDS[name]} {found[name]:,}" for name in BOUNDS if name in found)


def _first_line(model: type[BaseModel] | None) -> str:
    return ((model and model.__doc__) or "").strip().splitlines()[0].replace("``", "`")


def main() -> int:
    """Write the page, or compare it; 1 where it isn't current."""
    new = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == new else 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
