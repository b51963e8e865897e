"""``magneton config ...``: make, check, show and change volume configs."""

from __future__ import annotations

from pathlib import Path

import click

from magneton_tasks.cli.options import CONFIG, JSON, SETS, Commands, command


@click.group(cls=Commands, epilog="\b\nExample:  magneton config new volume.yaml")
def config() -> None:
    """Make, check, show and change volume configs."""


@command("new", example="magneton config new volume.yaml --input file:///data/affinity")
@CONFIG
@click.option("--input", "input_url", metavar="URL", help="Affinity map. Asked if not given.")
@click.option("--output", metavar="URL", help="Segmentation to write. Asked if not given.")
@click.option("--work", metavar="DIR", help="Work directory. Asked if not given.")
@click.option("--mip", type=click.IntRange(min=0), help="Mip of the input. Asked if not given.")
@click.option("--method", type=click.Choice(["overlap", "exact"]), help="Asked if not given.")
@click.option("--yes", is_flag=True, help="Accept all proposals without asking.")
def config_new(
    config: Path,
    input_url: str | None,
    output: str | None,
    work: str | None,
    mip: int | None,
    method: str | None,
    yes: bool,
) -> None:
    """Make a volume config: read the input, propose settings.

    The settings fit the volume (its convention, chunk size) and this machine (block size).
    """
    from magneton_tasks.cli.config import new as making

    making.new(
        config, input_url=input_url, output=output, work=work, mip=mip, method=method, yes=yes
    )


@command("edit", example="magneton config edit volume.yaml")
@CONFIG
@click.option(
    "--editor",
    is_flag=True,
    help="Open the file in $VISUAL or $EDITOR. It is checked when you leave the editor.",
)
def config_edit(config: Path, editor: bool) -> None:
    """Change values in a numbered table, or in your editor.

    The table checks each value that you type. Comments stay.
    """
    from magneton_tasks.cli.config import edit as editing

    editing.edit(config, editor=editor)


@command(
    "set", example="magneton config set volume.yaml segment.threshold=0.6 block.overlap=32,32,32"
)
@CONFIG
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
def config_set(config: Path, values: tuple[str, ...]) -> None:
    """Set values without asking. Comments stay."""
    from magneton_tasks.cli.config import edit as editing

    texts = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is not key=value")
        texts[key] = text
    editing.set_keys(config, texts)


@command("check", example="magneton config check volume.yaml")
@CONFIG
@SETS
@click.option("--file-only", is_flag=True, help="Don't look at the map: check the file alone.")
def config_check(config: Path, sets: dict[str, object], file_only: bool) -> None:
    """Check a volume config and its map: print `ok`, or what is wrong.

    It reads a few boxes of the affinity map, as plan does, and writes nothing.
    """
    from magneton_tasks.cli.config import checking

    checking.check(config, sets, file_only=file_only)


@command("show", example="magneton config show volume.yaml --source")
@CONFIG
@SETS
@click.option(
    "--resolved/--as-written",
    default=True,
    help="Print all values with defaults filled in (the default), or the file as it is.",
)
@click.option(
    "--source", is_flag=True, help="Also print where each value comes from, with the line."
)
@JSON
def config_show(
    config: Path, sets: dict[str, object], resolved: bool, source: bool, as_json: bool
) -> None:
    """Show a volume config, as YAML that reads back."""
    from magneton_tasks.cli.config import show as showing

    showing.show(config, sets, resolved=resolved, source=source, as_json=as_json)


@command("import", example="magneton config import old/config.yaml volume.yaml")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace CONFIG if it exists.")
def config_import(old: Path, config: Path | None, force: bool) -> None:
    """Translate a config of the Magneton menu tool.

    It prints what became of each key: carried over, translated or left out, with the reason.
    """
    from magneton_tasks.cli.config import importing

    importing.import_old(old, config, force=force)


@command("schema", example="magneton config schema > schema.json")
def config_schema() -> None:
    """Print the JSON schema of a volume config."""
    import json

    from magneton_tasks.config.read import RunConfig

    click.echo(json.dumps(RunConfig.model_json_schema(), indent=1))


for subcommand in (
    config_new,
    config_import,
    config_edit,
    config_set,
    config_check,
    config_show,
    config_schema,
):
    config.add_command(subcommand)
COMMANDS = (config,)
