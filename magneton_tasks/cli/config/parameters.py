"""The parameters of a volume config as a numbered table that a person changes.

Changes are overrides by dotted key, as ``--set`` makes them: for this run, unless they are saved.
Every change is checked with the whole config before it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from magneton_tasks.config import config_file, keys, renamed
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.read import known_keys, nearest, parse_config, written
from magneton_tasks.config.runner_names import RunnerName
from magneton_tasks.config.template import one_line, plain
from magneton_tasks.config.unread import unread_keys
from magneton_tasks.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

Source = Literal["file", "override", "default"]
Overrides = Mapping[str, object]

_SIZES = ("memory", "max_memory")
_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
#: Rows up to which meanings take several lines; a longer table has a line a row.
_WRAPPED_ROWS = 15
_GAP = re.compile(r"\s*[\s,x×]\s*")
_LIST = re.compile(r"[-+\d.eE]+(?:\s*[\s,x×]\s*[-+\d.eE]+)+")  # 256 256 256, 256,256,256


@dataclass(frozen=True)
class Parameter:
    """One key of a config.

    ``section`` is empty for keys at the top, and dotted for one in a section of a section
    (``exact.advanced``). ``value`` and ``default`` are plain data, as `RunConfig.resolved` has
    them; the default of a required key is None.
    """

    key: str
    section: str
    name: str
    value: object
    default: object
    source: Source
    meaning: str


# ---------------------------------------------------------------------------- reading


def parameters(
    config: Path, overrides: Overrides, sections: Collection[str] | None = None
) -> list[Parameter]:
    """All parameters that this config reads, in the schema's order.

    Those of a runner that isn't offered are left out, but for what the file says of it.

    Parameters
    ----------
    config
        The volume config.
    overrides
        Values by dotted key, over those of the file.
    sections
        Only these sections (with those inside) or dotted keys; ``""`` stands for the keys at the
        top. None: all.

    Raises
    ------
    NoInputError, ConfigError
        As `magneton_tasks.config.read.load_config`.
    """
    return parameters_of(config_file.read_text(config), str(config), overrides, sections)


def parameters_of(
    text: str, name: str, overrides: Overrides, sections: Collection[str] | None = None
) -> list[Parameter]:
    """As `parameters`, of a config's text; ``name`` stands for the file in messages."""
    config = parse_config(text, name, overrides)
    resolved, idle = config.resolved(), set(get_args(RunnerName)) - {*config.runner.offered}
    in_file, _ = written(text, name)
    found = []
    for key, field in keys.fields(RunConfig).items():
        section, leaf = keys.split(key)
        if sections is not None and not _is_in(key, sections):
            continue
        value = keys.get(resolved, key)
        if value is keys.MISSING:
            continue  # what the chosen method or rule doesn't read
        source = _source(key, in_file, overrides)
        if section in idle and source == "default":
            continue
        default = plain(None if field.is_required() else field.default)
        found.append(Parameter(key, section, leaf, value, default, source, field.description or ""))
    return found


def _is_in(key: str, sections: Collection[str]) -> bool:
    if "." not in key and "" in sections:
        return True
    return any(keys.is_in(key, s) for s in sections)


def _source(key: str, in_file: Mapping[str, object], overrides: Overrides) -> Source:
    if any(keys.is_in(key, given) for given in overrides):
        return "override"
    found = keys.get(in_file, key)
    if found is None and not keys.has(in_file, key):  # below a section that is null
        return "file" if keys.is_in(key, "box") else "default"  # box: null says something
    return "default" if found is keys.MISSING else "file"


# ---------------------------------------------------------------------------- changing


def changed(config: Path, overrides: Overrides, key: str, text: str) -> dict[str, object]:
    """The overrides with ``key`` set to what a person typed.

    Parameters
    ----------
    config, overrides
        As `parameters`.
    key
        Dotted key; ``box`` takes ``null`` or ``{begin: [...], end: [...]}``, and ``null`` for one
        of its ends takes the box away.
    text
        The value as in the YAML file; also ``256 256 256`` and ``256,256,256``.

    Raises
    ------
    ConfigError
        The value, or the config with it, is wrong. ``overrides`` is as it was.
    """
    return all_changed(config, overrides, {key: text})


def all_changed(config: Path, overrides: Overrides, texts: Mapping[str, str]) -> dict[str, object]:
    """As `changed`, of several keys that are checked together."""
    file = config_file.read_text(config)
    texts, new = renamed.given(texts, str(config)), dict(overrides)
    for key, text in texts.items():
        value = _parsed(key, text)
        if key in ("box.begin", "box.end") and value is None:
            key = "box"
        gone = (key, *unread_keys(RunConfig, key, value))
        new = {k: v for k, v in new.items() if not _is_in(k, gone)}
        new[key] = value
    return _settled(file, str(config), new, texts)


def _parsed(key: str, text: str) -> object:
    """What was typed, as YAML; a row of numbers is a list."""
    known = [*known_keys(), "box"]
    if key not in known:
        raise ConfigError(f"unknown key {key}{nearest(key, known)}")
    text = text.strip()
    if _LIST.fullmatch(text) and _is_list(key):
        text = f"[{_GAP.sub(', ', text)}]"
    try:
        return _numbers(config_file.value_of(text))
    except ValueError as error:
        if _is_text(key):
            return text  # @daily, %Y-%m-%d
        raise ConfigError(f"{key}: {error}", "write it as in the config file") from None


def _numbers(value: object) -> object:
    """``1e-4`` as a number: YAML 1.1 wants ``1.0e-4``, people don't."""
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return value


def _settled(
    file: str, name: str, overrides: dict[str, object], texts: Mapping[str, str]
) -> dict[str, object]:
    """The overrides, checked; what YAML took for a number may be meant as a text (``00:30:00``)."""
    try:
        parse_config(file, name, overrides)
    except ConfigError:
        as_text = {
            k: texts[k].strip()
            for k, v in overrides.items()
            if k in texts and _is_text(k) and v is not None and not isinstance(v, str | list)
        }
        if not as_text:
            raise
        overrides = {**overrides, **as_text}
        parse_config(file, name, overrides)
    return overrides


def _is_list(key: str) -> bool:
    return tuple in _kinds(key)


def _is_text(key: str) -> bool:
    return str in _kinds(key)


def _kinds(key: str) -> set[type]:
    """The types that a key's value may have; Literals of text aren't among them."""
    field = keys.fields(RunConfig).get(key)
    return set() if field is None else set(_types(field.annotation))


def _types(annotation: Any) -> Iterator[type]:
    if get_origin(annotation) is tuple:
        yield tuple
    elif isinstance(annotation, type):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from _types(inner)


# ---------------------------------------------------------------------------- showing


def shown(key: str, value: object) -> str:
    """A value on one line, as it can be typed; sizes in units where that is exact."""
    if keys.split(key)[1] in _SIZES and isinstance(value, int):
        for unit, factor in _UNITS:
            if value % factor == 0:
                return f"{value // factor}{unit}"
    return one_line(value)


def differences(before: Sequence[Parameter], after: Sequence[Parameter]) -> list[str]:
    """``key: old -> new`` for each parameter that differs."""
    old = {p.key: shown(p.key, p.value) for p in before}
    new = {p.key: shown(p.key, p.value) for p in after}
    lines = []
    for key in keys.fields(RunConfig):
        one, other = old.get(key), new.get(key)
        if one != other:
            lines.append(f"{key}: {one or '(not read)'} -> {other or '(not read)'}")
    return lines


def table(
    parameters: Sequence[Parameter], width: int, numbers: Sequence[int] | None = None
) -> Table:
    """The numbered table: number, section, parameter, value, meaning.

    ``width``: of the console. ``numbers``: those of the whole table, where ``parameters`` is a part
    of it; None: from 1.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    is_long = len(parameters) > _WRAPPED_ROWS
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    for name, justify in (("no", "right"), ("section", "left"), ("parameter", "left")):
        grid.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    grid.add_column("value", overflow="fold", max_width=min(width // 4, 32))
    grid.add_column("meaning", no_wrap=is_long, ratio=1)
    before = None
    for number, p in zip(numbers or range(1, len(parameters) + 1), parameters, strict=True):
        is_new = p.source == "override"
        value = Text(f"{shown(p.key, p.value)}{' *' if is_new else ''}", "bold" if is_new else "")
        section = "" if p.section == before else p.section or "-"
        grid.add_row(str(number), section, p.name, value, Text(p.meaning, "dim"))
        before = p.section
    if any(p.source == "override" for p in parameters):
        grid.caption = "* for this run: not what the file says"
    return grid
