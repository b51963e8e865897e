"""Run all checks side by side, and tell what they found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from magneton_tasks.base.checkup import Check, Checked, Finding, exit_code, run_all
from magneton_tasks.cli.doctor import airflow, installation, machine, runners, storage, volume
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.errors import MagnetonError

#: What checks may take together, in seconds; Airflow's import takes most of the second.
LIMIT_S, AIRFLOW_LIMIT_S = 8.0, 22.0
_COLOURS = {"ok": "green", "odd": "yellow", "wrong": "red"}


def look(config: Path | None, users: Sequence[str], partition: str | None, as_json: bool) -> int:
    """Print what is found; returns the exit code."""
    checked = _checked(config, users, partition)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in checked]))
    else:
        for one in checked:
            _tell(one)
        _sum_up(checked)
    return exit_code(checked)


def _checked(config: Path | None, users: Sequence[str], partition: str | None) -> list[Checked]:
    read: RunConfig | None = None
    first: list[Checked] = []
    if config is not None:
        try:
            read = load_config(config, partition=partition)
        except MagnetonError as error:
            failed = Finding("wrong", error.what, error.hint, error.exit_code)
            first = [Checked("config", (failed,))]
    checks = [
        *installation.checks(read),
        *machine.checks(),
        *storage.checks(read),
        *runners.checks(read),
        *(volume.checks(read, users) if read is not None else ()),
    ]
    slow: list[Check] = airflow.checks()
    return [*first, *run_all([*checks, *slow], AIRFLOW_LIMIT_S if slow else LIMIT_S)]


def _tell(one: Checked) -> None:
    """A line for each finding, and what to do below it."""
    title = one.title
    for finding in one.findings:
        level = click.style(f"{finding.level:<6}", fg=_COLOURS[finding.level])
        what, *more = finding.what.split("\n")
        click.echo(f"{level}{title:<15}{what}")
        for line in more:
            click.echo(f"{'':21}{line}")
        if finding.hint:
            click.echo(f"{'':21}what to do: {finding.hint}")
        title = ""


def _sum_up(checked: Sequence[Checked]) -> None:
    levels = [finding.level for one in checked for finding in one.findings]
    many, few = levels.count("wrong"), levels.count("odd")
    if many or few:
        click.echo(f"{many} wrong, {few} odd")
    else:
        click.echo("nothing is wrong")
