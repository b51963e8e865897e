"""A screen at a time."""

from __future__ import annotations

import io
import os
import sys

import click
import pytest

from magneton_tasks.cli import paging
from magneton_tasks.cli.paging import MORE, paged


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A terminal of five lines and ten characters."""
    monkeypatch.setattr(paging, "is_interactive", lambda: True)
    monkeypatch.setattr(
        paging.shutil,  # type: ignore[attr-defined]
        "get_terminal_size",
        lambda _: os.terminal_size((10, 5)),
    )
    return monkeypatch


def shown(lines: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    before = sys.stdout
    with paged():
        for line in lines:
            click.echo(line)
    assert sys.stdout is before
    return capsys.readouterr().out.split(MORE)


def test_it_stops_before_what_does_not_fit_and_after_q_shows_no_more(
    small: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small.setattr("sys.stdin", io.StringIO("\nq\n"))
    found = shown([str(k) for k in range(20)], capsys)
    assert found == ["0\n1\n2\n3\n", "4\n5\n6\n7\n", ""]


def test_what_fits_is_printed_at_once_and_long_lines_take_more_rows(
    small: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(["a"] * 4, capsys) == ["a\n" * 4]
    small.setattr("sys.stdin", io.StringIO("\n"))
    assert shown(["b" * 25, "\x1b[31m" + "c" * 10 + "\x1b[0m", "d"], capsys)[1] == "d\n"


def test_without_a_terminal_nothing_stops(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(["a"] * 500, capsys) == ["a\n" * 500]
