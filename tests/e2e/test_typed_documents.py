"""The pages of docs/, as a reader types them: their blocks of shell that need no Airflow and no cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.helpers.shell_blocks import ROOT, shown_to, typed

SHOWN = shown_to(__file__)


def of_the_command_line(folder: Path, said: str) -> None:
    for words in (
        "ok    Python",
        "small.yaml: ok",
        "wrote translated.yaml",
        "verified      complete",
        "REPLACES  the finished result",
        "best      exact at threshold",
        "ARAND",
        "largest object's share of the segmented voxels",
        "at 0.35: ",
    ):
        assert words in said, words
    assert (folder / "small" / "affinity-segmentation" / "info").is_file()
    assert (folder / "small" / "truth" / "info").is_file()
    assert list((folder / "small" / "affinity-work").glob("segment-*")), "a dry run removes nothing"


def of_operating(folder: Path, said: str) -> None:
    """The units are where systemd looks for a user's."""
    of_the_project = {unit.name for unit in (ROOT / "systemd").iterdir()}
    assert {unit.name for unit in (folder / ".config/systemd/user").iterdir()} == of_the_project
    assert (folder / ".config/magneton/airflow.env").read_text().startswith("MAGNETON_CONFIGS=")


#: What is looked at after a page, beside that nothing failed.
LOOKS: dict[str, Callable[[Path, str], None]] = {
    "command-line.md": of_the_command_line,
    "operating.md": of_operating,
}


def _pages() -> Iterable[str]:
    return sorted({block.page.name for block in SHOWN})


def test_every_page_is_looked_at() -> None:
    assert set(_pages()) == set(LOOKS)


@pytest.mark.parametrize("page", _pages())
def test_a_page_as_it_is_typed(page: str, tmp_path: Path) -> None:
    """In a folder that holds the project's, in one shell, from top to bottom."""
    for name in ("docs", "systemd"):
        (tmp_path / name).symlink_to(ROOT / name)
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    said = typed(shown_to(__file__, page), tmp_path, environ)
    LOOKS[page](tmp_path, said)
