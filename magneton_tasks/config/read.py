"""Reading a volume config: YAML, overrides, partition; every error says file, line and key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from magneton_tasks.config import config_file, keys, renamed
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.unread import ADD_METHOD, CHANGE_METHOD, unread_keys
from magneton_tasks.errors import ConfigError

__all__ = [
    "RunConfig",
    "find_configs",
    "known_keys",
    "load_config",
    "nearest",
    "parse_config",
    "require_partition",
    "uses_partition",
    "written",
]

Overrides = Mapping[str, object]


def load_config(
    path: str | Path, overrides: Overrides | None = None, partition: str | None = None
) -> RunConfig:
    """The volume config of a YAML file, checked.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Values by dotted key (``segment.threshold``), over those of the file.
    partition
        What ``{partition}`` in the paths stands for.

    Raises
    ------
    NoInputError
        There is no such file, or it may not be read.
    ConfigError
        No file in UTF-8, malformed YAML, an unknown key or a wrong value: with file, line and key.
    """
    path = Path(path)
    return parse_config(config_file.read_text(path), str(path), overrides, partition)


def parse_config(
    text: str, name: str, overrides: Overrides | None = None, partition: str | None = None
) -> RunConfig:
    """As :func:`load_config`, of text; ``name`` stands for the file in messages."""
    data, lines = written(text, name)
    overrides = renamed.given(overrides or {}, f"{name}, an override")
    for key, value in overrides.items():
        _override(data, key, value, name)
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_explain(e, lines, name, overrides) for e in error.errors())
        ) from None
    return _with_partition(config, partition, name)


def find_configs(places: str | Iterable[str | Path]) -> list[Path]:
    """Volume configs (``*.yaml``, ``*.yml``) in directories or single files, sorted by name.

    ``places``: paths, or one text with paths separated by ``:`` (as in ``$MAGNETON_CONFIGS``). Hidden
    files of a directory are none: editors and file systems leave locks and metadata there.
    """
    if isinstance(places, str):
        places = [p for p in places.split(os.pathsep) if p]
    found: list[Path] = []
    for place in map(Path, places):
        found += (
            [place]
            if place.is_file()
            else [p for p in place.glob("[!.]*.y*ml") if p.suffix in (".yaml", ".yml")]
        )
    return sorted(set(found), key=lambda p: (p.stem, str(p)))


def known_keys() -> list[str]:
    """All dotted keys of a config."""
    return sorted(keys.fields(RunConfig))


def nearest(key: str, known: Iterable[str]) -> str:
    """A ``; did you mean ...?`` or nothing."""
    known = list(known)
    # a known key in the wrong section first
    close = [k for k in known if keys.split(k)[1] == keys.split(key)[1]][:1]
    close = close or get_close_matches(key, known, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _override(data: dict[str, object], key: str, value: object, name: str) -> None:
    known = known_keys()
    if key not in known and not any(
        key.startswith(k + ".") or k.startswith(key + ".") for k in known
    ):
        raise ConfigError(f"{name}: unknown key {key} in an override{nearest(key, known)}")
    try:
        keys.put(data, key, value)
    except KeyError as error:
        section = str(error.args[0])
        raise ConfigError(f"{name}: {section} in the override {key} is not a section") from None
    # The file's keys were meant for the choice of the file: another choice doesn't read them.
    for unread in unread_keys(RunConfig, key, value):
        keys.drop(data, unread)


def written(text: str, name: str) -> tuple[dict[str, object], dict[str, int]]:
    """What a config's file says, unchecked and under the present names; the lines (from 1) of keys.

    Keys that come by a merge (``<<``) have no line.

    Raises
    ------
    ConfigError
        Malformed YAML, a key that is there twice, no mapping; ``name`` stands for the file.
    """
    node = config_file.compose(text, name)
    if node is None:
        return {}, {}
    lines: dict[str, int] = {}
    _collect_lines(node, "", lines, name)
    data = config_file.construct(node, name)
    if not isinstance(data, dict):
        raise ConfigError(
            f"{name}: a config is a mapping of keys to values, not a {type(data).__name__}"
        )
    for old, new in renamed.rename(data, lines, name).items():
        if old in lines:
            lines[new] = lines[old]
    return data, lines


def _collect_lines(node: yaml.Node, prefix: str, lines: dict[str, int], name: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        at, line = f"{prefix}{key.value}", key.start_mark.line + 1
        if at in lines:
            raise ConfigError(
                f"{name}, line {line}: {at} appears twice (first in line {lines[at]})"
            )
        lines[at] = line
        _collect_lines(value, f"{at}.", lines, name)


def _explain(error: ErrorDetails, lines: Mapping[str, int], name: str, overrides: Overrides) -> str:
    """One pydantic error as: file, line: key: what is wrong."""
    loc = tuple(str(part) for part in error["loc"])
    if not loc:  # a rule about several sections begins with the key that it is about
        about = error["msg"].removeprefix("Value error, ").split(" ")[0]
        loc = tuple(about.split(".")) if about in (*known_keys(), "exact") else ()
        if ".".join(loc) in overrides:
            return f"{name}, set for this run: {_for_this_run(error['msg'])}"
        loc = loc[:1] if loc and ".".join(loc) not in lines else loc
    above = (".".join(loc[:n]) for n in range(len(loc), 0, -1))
    line = next((lines[key] for key in above if key in lines), None)
    # A union's branch names are in the location after the key itself.
    known = known_keys()
    sections = {keys.split(k)[0] for k in known}
    n = len(loc)
    while n > 1 and ".".join(loc[:n]) not in known and ".".join(loc[: n - 1]) not in sections:
        n -= 1
    key = ".".join(loc[:n])
    where = f"{name}, line {line}" if line else name
    if error["type"] == "extra_forbidden":
        siblings = [k for k in (*known, *sections) if k]
        return f"{where}: unknown key {key}{nearest(key, siblings)}"
    if error["type"] == "missing" and n < len(loc):
        return f"{where}: {key}: too few values (given: {_short(error.get('input'))})"
    if error["type"] == "missing":
        return f"{where}: {key} is missing"
    message = error["msg"].removeprefix("Value error, ")
    given = error.get("input")
    shown = (
        ""
        if isinstance(given, (dict, BaseModel)) or error["type"] == "value_error"
        else f" (given: {_short(given)})"
    )
    return f"{where}: {key or 'config'}: {message}{shown}{_null(key, error['type'])}"


def _for_this_run(message: str) -> str:
    """A key that the method doesn't read, and that isn't in the file: what to do."""
    advice = "Set the method too (--set method=overlap), or omit this key"
    text = message.removeprefix("Value error, ").replace(ADD_METHOD, advice)
    return text.replace(CHANGE_METHOD, f"{advice[0].lower()}{advice[1:]}")


def _null(key: str, kind: str) -> str:
    """What null stands for, where a value of another type was given."""
    if not kind.endswith(("_parsing", "_type")):
        return ""
    field = keys.fields(RunConfig).get(key) or keys.sections(RunConfig).get(key)
    _, null, meaning = ((field.description if field else "") or "").partition("null: ")
    return f"; {null}{meaning.rstrip('.')}" if null else ""


def _short(value: object) -> str:
    """A wrong value for a message; a long one in part."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:180]}... ({len(text):,} characters)"


def _with_partition(config: RunConfig, partition: str | None, name: str) -> RunConfig:
    if partition is None or not (uses_partition(config) or "{partition}" in _marker(config)):
        return config
    odd = partition != partition.strip() or not partition.isprintable()
    if odd or "/" in partition or partition in ("", ".", ".."):
        raise ConfigError(f"{name}: the partition {partition!r} can't be a part of a path")
    fields = _partitioned(config)
    paths = config.paths.model_copy(
        update={k: v.replace("{partition}", partition) for k, v in fields.items()}
    )
    marker = _marker(config).replace("{partition}", partition) or None
    wait = config.wait_for_input.model_copy(update={"marker": marker})
    return config.model_copy(update={"paths": paths, "wait_for_input": wait})


def _partitioned(config: RunConfig) -> dict[str, str]:
    """The paths in which ``{partition}`` stands."""
    values = config.paths.model_dump().items()
    return {k: v for k, v in values if isinstance(v, str) and "{partition}" in v}


def _marker(config: RunConfig) -> str:
    return config.wait_for_input.marker or ""


def uses_partition(config: RunConfig) -> bool:
    """Whether the config's paths hold ``{partition}``."""
    return bool(_partitioned(config))


def require_partition(config: RunConfig, name: str) -> None:
    """Refuse a run whose paths still hold ``{partition}``."""
    left = list(_partitioned(config))
    if left:
        raise ConfigError(
            f"{name}: paths.{', paths.'.join(left)} needs a partition, and this run has none",
            "give one: --partition P on the command line, or the form's field partition",
        )
