"""README and docs: what they show, link and name is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from magneton_tasks.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_COMMAND = re.compile(r"(?:^|\$\()magneton ((?:[a-z]+ ?)+)(.*)")


def named_commands(page: Path) -> set[tuple[str, str]]:
    """(words, rest of the line) of every ``magneton ...`` of a page."""
    code = "\n".join(block or span for block, span in _CODE.findall(page.read_text()))
    return {(m[1], m[2]) for m in map(_COMMAND.search, code.splitlines()) if m is not None}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_shows_or_links_is_there(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        assert (page.parent / link).is_file(), link


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "performance.md"], ids=lambda p: p.name
)
def test_commands_and_their_options_exist(page: Path) -> None:
    found = named_commands(page)
    if page.name in ("README.md", "command-line.md"):
        assert len(found) > 5  # or the pattern finds nothing
    for words, rest in found:
        command: click.Command = cli
        for word in words.split():
            if isinstance(command, click.Group):
                assert word in command.commands, f"magneton {words}"
                command = command.commands[word]
        known = {o for p in command.params for o in p.opts} | {"--help"}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0])) <= known, words


def test_the_config_reference_is_that_of_the_schema() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/config_reference.py", "--check"], cwd=ROOT, check=False
    )
    assert done.returncode == 0, "run: python scripts/config_reference.py"


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        code = "\n".join(block or span for block, span in _CODE.findall(page.read_text()))
        assert set(re.findall(r"^make ([a-z0-9-]+)", code, re.MULTILINE)) <= targets


@pytest.mark.parametrize("target", ["up", "down", "health", "db-clean"])
def test_make_runs_its_script(target: str) -> None:
    """Make itself takes what each of them sets: a dry run wouldn't tell."""
    command = ["make", "-o", ".venv/.installed", target, "PYTHON=/bin/echo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"scripts/airflow_{target.replace('-', '_')}.py" in done.stdout
