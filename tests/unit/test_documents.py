"""README and docs: what they show, link and name is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from magneton_tasks.cli.main import cli
from tests.shell_blocks import BY_HAND, ELSEWHERE, README, blocks, commands, to_type

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


# ------------------------------------------------------------------ what people type
_SHELL = re.compile(
    r"\s*(\$ |\S*/)?(magneton|make|airflow|pip|python3?|git|docker|sudo|cp|curl)\b ?"
)


def test_every_line_of_readmes_shell_is_typed() -> None:
    """By tests/e2e/test_readme.py, which types `to_type`; the rest by what `ELSEWHERE` names."""
    bodies = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    written = [line for body in bodies for line in body.splitlines() if line.strip()]
    assert len(written) > 10
    assert [c.text for c in commands(README)] == written
    typed = [c.text for c in to_type(README)]
    rest = [line for line in written if line not in typed]
    assert [re.split(r"\s+#", line)[0] for line in rest] == list(ELSEWHERE)
    for command, where in ELSEWHERE.items():
        assert command in (ROOT / where).read_text()


def test_what_the_other_documents_show_is_typed_or_says_why_not() -> None:
    """`scripts/airflow ...` is typed by tests/e2e/test_airflow_command.py and test_schedules.py."""
    others = [c for page in PAGES if page != README for c in commands(page)]
    by_hand = {start for start in BY_HAND if any(c.text.startswith(start) for c in others)}
    assert by_hand == set(BY_HAND), "a reason for what isn't shown any more"
    left = [c for c in others if not c.text.startswith((*BY_HAND, "scripts/airflow "))]
    assert not left, "neither typed nor said why not"
    for typed in (c for c in others if c.text.startswith("scripts/airflow ")):
        assert "instance_segmentation.cortex" in typed.text or "backfill create" in typed.text


def test_readme_hides_no_command_in_another_kind_of_block() -> None:
    for block in blocks(README):
        if block.language != "sh":
            assert not [line for _, line in block.lines if _SHELL.match(line)], block


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_airflows_command_is_the_one_with_our_environment(page: Path) -> None:
    code = [line for b in blocks(page) for _, line in b.lines]
    code += re.findall(r"`([^`\n]+)`", page.read_text())
    bare = re.compile(r"airflow (dags|tasks|backfill|pools|users|connections|variables|db) ")
    assert not [line for line in code if bare.match(line)]
