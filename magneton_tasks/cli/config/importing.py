"""``magneton config import``: a config of the menu tool becomes a volume config.

The printed table shows every key of the old file: carried over, translated, or left
out with the reason. Nothing is written where the result couldn't be loaded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from magneton_tasks.base import files
from magneton_tasks.base.location import locate
from magneton_tasks.cli.config.old_blocks import fit_block
from magneton_tasks.config import config_file, template
from magneton_tasks.config.menu_tool.old_config import read_old
from magneton_tasks.config.menu_tool.old_keys import translate
from magneton_tasks.config.menu_tool.old_translation import Row, Translation
from magneton_tasks.config.read import RunConfig, parse_config
from magneton_tasks.errors import ConfigError, MagnetonError, UsageError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.metadata import read_metadata

#: Columns of the table where there's no terminal.
_WIDTH = 160


def import_old(old: Path, config: Path | None, *, force: bool) -> None:
    """Translate a config of the menu tool; prints the table, writes a commented YAML.

    Parameters
    ----------
    config
        Where to write; None: beside the old file, with ``-magneton`` in its name.
    force
        Replace a file that is there. The old config itself is never replaced.

    Raises
    ------
    NoInputError, ConfigError
        The old file can't be read, is none of the menu tool's, or leaves out what a config needs.
    UsageError
        Something lies at ``config`` already.
    """
    target = config or old.with_name(f"{old.stem}-magneton.yaml")
    _check_target(old, target, force)
    keys = read_old(old)
    _check_kind(old, {key.key for key in keys})
    to = translate(keys)
    info = _volume(to)
    _work(to)
    fit_block(to, info)
    _print_table(to.table())
    text = template.render(to.values, list(_head(old, to)), to.notes)
    checked = _checked(text, old, to)
    files.write_atomic(target, text.encode())
    for warning in (*to.warnings, *_warnings(checked, info)):
        click.echo(f"WARNING   {warning}")
    click.echo(f"wrote {target}")
    click.echo(f"next: magneton run {target} --dry-run")


def _check_target(old: Path, target: Path, force: bool) -> None:
    if target.resolve() == old.resolve():
        raise UsageError(f"{target} is the old config itself", "give another name to write to")
    if target.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{target} doesn't end in .yaml", "give a name like volume.yaml")
    if target.is_dir():
        raise UsageError(f"{target} is a directory", "give the name of the file to write")
    if (target.exists() or target.is_symlink()) and not force:
        raise UsageError(f"{target} exists already", "give another name, or --force to replace it")


def _check_kind(old: Path, keys: set[str]) -> None:
    """Refuse what isn't a config of the menu tool's segmentation."""
    if "instance_segmentation.main" in keys:
        raise ConfigError(
            f"{old} is the menu's main file, which only names others",
            "import the file that it names under instance_segmentation, main",
        )
    try:
        parse_config(config_file.read_text(old), str(old))
    except ConfigError:
        return
    raise UsageError(f"{old} is a volume config of this Magneton already", "use it as it is")


def _volume(to: Translation) -> VolumeInfo | None:
    """The input's metadata, where it can be read from here."""
    url, mip = to.values.get("paths.input"), to.values.get("input.mip", 0)
    with suppress(MagnetonError):
        if isinstance(url, str) and isinstance(mip, int):
            return read_metadata(url, mip)
    return None


def _work(to: Translation) -> None:
    """A work directory that nests with nothing."""
    output = to.values.get("paths.output")
    if not isinstance(output, str) or "paths.input" not in to.values:
        return
    from magneton_tasks.stages.planning.checks import check_paths

    where = locate(output).path
    beside = str(where.with_name(f"{where.name}-work")) if where else str(Path("work").absolute())
    if "paths.work" not in to.values:
        to.add(
            "paths.work",
            beside,
            "block labels and records lie in it; the old file named no such place",
        )
        return
    try:
        check_paths(_trial(to), write=False)
    except ConfigError:
        to.add(
            "paths.work",
            beside,
            f"{to.values['paths.work']} lies in the output or input, or around it",
        )


def _trial(to: Translation) -> RunConfig:
    paths = {k: v for k, v in to.values.items() if k.startswith("paths.")}
    return parse_config(template.render(paths), "the paths")


# ------------------------------------------------------------------ result
def _checked(text: str, old: Path, to: Translation) -> RunConfig:
    missing = [k for k in ("paths.input", "paths.output") if k not in to.values]
    if missing:
        raise ConfigError(
            f"{old}: nothing was written, because {' and '.join(missing)} can't be taken from it",
            "add paths: {input: ..., output: ...} to the old file; or make a config from the volume "
            "itself: magneton config new volume.yaml",
        )
    try:
        return parse_config(text, "the translated config")
    except ConfigError as error:
        raise ConfigError(
            f"{old}: nothing was written, because the result couldn't be loaded: {error.what}",
            "fix these values in the old file, then import it again",
        ) from None


def _warnings(config: RunConfig, info: VolumeInfo | None) -> Iterator[str]:
    """What a look at the volumes tells."""
    from magneton_tasks.stages.planning.checks import check_input

    if info is None:
        yield f"{config.paths.input} can't be read from here, so nothing was checked against it"
    else:
        try:
            check_input(config, info)
        except ConfigError as error:
            yield f"{error.what}; {error.hint}"
    output = locate(config.paths.output).path
    if output is not None and (output / "info").exists():
        yield (
            f"{output} holds a layer already, perhaps the menu tool's: a run refuses it without "
            "--overwrite-output, so choose another paths.output"
        )


def _head(old: Path, to: Translation) -> Iterator[str]:
    yield f"Volume config translated from {old.name}, a config of the menu tool."
    yield "Keys of it that have no counterpart:"
    reasons: dict[str, list[str]] = {}
    for row in to.table():
        if row.fate in ("left out", "unknown"):
            reasons.setdefault(row.text, []).append(row.key)
    for reason, keys in reasons.items():
        yield from textwrap.wrap(
            f"{', '.join(keys)}: {reason}",
            template.WIDTH,
            initial_indent="- ",
            subsequent_indent="    ",
        )
    yield ""
    yield "Lines that begin with # are comments or defaults. To change a default, remove the # before"
    yield "it, and that before its section's name."


def _print_table(rows: list[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    table = Table(box=box.SIMPLE)
    table.add_column("old key", overflow="fold", no_wrap=not console.is_terminal)
    for name in ("value", "", "what became of it"):
        table.add_column(name, overflow="fold")
    for row in rows:
        value = "" if row.fate == "added" else str(row.value)
        table.add_row(Text(row.key), Text(value), Text(row.fate), Text(row.text))
    console.print(table)
