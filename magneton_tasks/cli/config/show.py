"""``magneton config show``: the values of a config, and where each comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import yaml

from magneton_tasks.cli.config import parameters as params
from magneton_tasks.config import config_file
from magneton_tasks.config.read import parse_config, written
from magneton_tasks.config.segment import USUAL_THRESHOLD


def show(
    config: Path,
    sets: Mapping[str, object],
    *,
    resolved: bool = True,
    source: bool = False,
    as_json: bool = False,
) -> None:
    """Print a config: YAML that reads back, a table of where values come from, or JSON.

    Parameters
    ----------
    config
        The volume config.
    sets
        Overrides by dotted key.
    resolved
        All values, defaults filled in; False: what the file and the overrides say, with the file's
        comments.
    source
        A table: key, value, and whether it comes from the file (with its line), an override or
        the default.
    as_json
        JSON instead of YAML or the table; sizes in bytes.

    Raises
    ------
    NoInputError, ConfigError
        The config can't be read, or is wrong.
    """
    text = config_file.read_text(config)
    checked = parse_config(text, str(config), sets)
    if source:
        _show_sources(_sources(text, str(config), sets, resolved), as_json)
        return
    if not resolved:
        from magneton_tasks.config.edit import with_values  # ruamel.yaml is of use here alone

        text = with_values(text, str(config), sets)
    data = checked.resolved() if resolved else yaml.safe_load(text)
    if as_json:
        click.echo(json.dumps(data, indent=1, ensure_ascii=False))
    elif resolved:
        click.echo(
            yaml.safe_dump(data, sort_keys=False, default_flow_style=None, allow_unicode=True),
            nl=False,
        )
    else:
        click.echo(text, nl=not text.endswith("\n"))


@dataclass(frozen=True, slots=True)
class Row:
    """A key, its value, and where that comes from; ``line`` is that of the file, from 1."""

    key: str
    value: object
    source: params.Source
    line: int | None


def _sources(text: str, name: str, sets: Mapping[str, object], resolved: bool) -> list[Row]:
    _, lines = written(text, name)
    return [
        Row(
            p.key,
            p.value,
            p.source,
            lines.get(p.key, lines.get(p.section)) if p.source == "file" else None,
        )
        for p in params.parameters_of(text, name, sets)
        if resolved or p.source != "default"
    ]


def _show_sources(rows: list[Row], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(r) for r in rows], indent=1, ensure_ascii=False))
        return
    empty = _of_empty_threshold(rows)
    shown = [
        (
            r.key,
            params.shown(r.key, r.value),
            _origin(r) + (empty if (r.key, r.value) == ("segment.threshold", None) else ""),
        )
        for r in rows
    ]
    header = ("key", "value", "source")
    widths = [max(len(row[i]) for row in (header, *shown)) for i in (0, 1)]
    for key, value, origin in (header, *shown):
        click.echo(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _of_empty_threshold(rows: list[Row]) -> str:
    """What a threshold that isn't given stands for."""
    is_exact = any((r.key, r.value) == ("method", "exact") for r in rows)
    return ": from the map, plan says which" if is_exact else f": {USUAL_THRESHOLD:g}"


def _origin(row: Row) -> str:
    if row.source == "override":
        return "override (--set)"
    return f"file, line {row.line}" if row.line else row.source
