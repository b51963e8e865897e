"""What is printed of a block's child that failed: an error that says it all stands alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from magneton_tasks.errors import BadDataError, MagnetonError
from magneton_tasks.stages.child import run_in_child


def to_the_log() -> None:
    """In the child, as outside of pytest, which puts an object of its own before the descriptor."""
    sys.stderr = os.fdopen(2, "w", closefd=False)


def refuse() -> NoReturn:
    to_the_log()
    raise BadDataError("the chunk is damaged", "write it again")


def break_down() -> NoReturn:
    to_the_log()
    raise TypeError("unforeseen")


def test_an_error_of_ours_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadDataError, match="the chunk is damaged\n.*write it again"):
        run_in_child(refuse, tmp_path / "log", 0)
    assert capsys.readouterr().out == ""
    assert "in refuse" in (tmp_path / "log").read_text(), "the log still tells where it came from"


def test_a_bug_shows_where_it_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MagnetonError, match="unforeseen"):
        run_in_child(break_down, tmp_path / "log", 0)
    out = capsys.readouterr().out
    assert "in break_down" in out and f"the block's log ({tmp_path}/log)" in out
