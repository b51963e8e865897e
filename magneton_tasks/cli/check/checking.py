"""Check a layer, and tell what was found."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from magneton_tasks.base.signs import Signs
from magneton_tasks.errors import EXIT_BAD_DATA, EXIT_OK
from magneton_tasks.formats.precomputed.checking import layer
from magneton_tasks.formats.precomputed.checking.layer import Wanted
from magneton_tasks.formats.precomputed.checking.report import LayerReport, Part, Problem

_INDENT = " " * 26


def check(url: str, wanted: Wanted, as_json: bool) -> int:
    """Print what is found; returns the exit code."""
    now = [f"reading {url}"]

    def say(doing: str) -> None:
        now[0] = doing

    with Signs(lambda _: f"    {now[0]}", sys.stderr.buffer):
        report = layer.check(url, wanted, say)
    if as_json:
        click.echo(json.dumps(_as_json(report)))
    else:
        for part in report.parts:
            _tell(part)
        _sum_up(report)
    return EXIT_OK if report.is_right else EXIT_BAD_DATA


def _as_json(report: LayerReport) -> dict[str, object]:
    parts = [
        {**asdict(part), "problems": [asdict(problem) for problem in part.problems.values()]}
        for part in report.parts
    ]
    return {"url": report.url, "is_right": report.is_right, "parts": parts}


def _tell(part: Part) -> None:
    """A line with what was counted, and below it what is wrong."""
    level, colour = ("ok", "green") if part.is_right else ("wrong", "red")
    figures = ", ".join(f"{word}: {number:,}" for word, number in part.figures.items())
    click.echo(f"{click.style(f'{level:<6}', fg=colour)}{part.name:<20}{figures}".rstrip())
    for note in part.notes:
        click.echo(f"{_INDENT}({note})")
    for problem in part.problems.values():
        for line in _lines_of(problem):
            click.echo(f"{_INDENT}{line}")


def _lines_of(problem: Problem) -> Iterator[str]:
    yield f"{problem.what}: {problem.count:,}"
    for example in problem.examples:
        yield f"  {example}"
    if problem.count > len(problem.examples):
        yield f"  and {problem.count - len(problem.examples):,} more"


def _sum_up(report: LayerReport) -> None:
    wrong = [part.name for part in report.parts if not part.is_right]
    click.echo(f"wrong: {', '.join(wrong)}" if wrong else "nothing is wrong")
