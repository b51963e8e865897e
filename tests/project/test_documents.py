"""README and docs: what they show, link and name is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from magneton_tasks.cli.main import cli
from magneton_tasks.config.read import known_keys
from tests.helpers.shell_blocks import (
    ANYWHERE,
    ELSEWHERE,
    EXCUSES,
    OF_README,
    PAGES,
    README,
    Block,
    blocks,
    commands,
    shown_to,
    to_type,
)

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_COMMAND = re.compile(r"(?:^|\$\()magneton ((?:[a-z][a-z-]* ?)+)(.*)")


def named_commands(page: Path) -> set[tuple[str, str]]:
    """(words, rest of the line) of every ``magneton ...`` of a page."""
    code = "\n".join(block or span for block, span in _CODE.findall(page.read_text()))
    return {(m[1], m[2]) for m in map(_COMMAND.search, code.splitlines()) if m is not None}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_shows_or_links_is_there(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        assert (page.parent / link).is_file(), link


def _anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_link_to_a_heading_leads_to_one(page: Path) -> None:
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
        assert anchor in _anchors(page.parent / link if link else page), f"{link}#{anchor}"


def test_developing_names_every_room_and_files_that_are_there() -> None:
    text, package = (ROOT / "docs" / "developing.md").read_text(), ROOT / "magneton_tasks"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"`(\w+)/`", text))
    for name in re.findall(r"`([\w/]+/\w+\.py)`", text):
        assert (ROOT / name).is_file() or (package / name).is_file(), name


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


def test_the_config_reference_says_all_of_every_key() -> None:
    """A row a key with its meaning, default and allowed values."""
    rows = {}
    for line in (ROOT / "docs" / "config.md").read_text().splitlines():
        if line.startswith("| `"):
            key, *said = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            rows[key.strip("`")] = said
    assert set(known_keys()) == set(rows)
    for key, said in rows.items():
        assert len(said) == 3 and all(said), key
    assert rows["segment.threshold"][1:] == ["`null`", "number ≥ 0, ≤ 1, or null"]
    assert rows["paths.work"][1:] == ["required", "absolute path"]
    assert rows["slurm.max_memory"][2] == "size such as 8GiB, or null"


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
#: How a command begins, whatever stands before it: a prompt, a user, a variable, a folder.
_SHELL = re.compile(
    r"\s*([$#] |sudo |\w+=\S* |[^\s=]*/)*(magneton|make|airflow|pip3?|python3?|git|docker(-compose)?|cp|mkdir"
    r"|curl|sbatch|srun|squeue|scancel|sinfo|systemctl|loginctl|psql|createdb|ssh|apt(-get)?|cd|export)(\s|$)"
)
#: Languages that tests execute; Python on the one page that may have any (e2e/test_python_page.py).
_EXECUTED = {"sh", "python"}
#: Languages of blocks that nobody types.
_SHOWN = {"yaml", "ini", "json", "nginx", "dockerfile", "text", "crontab"}
BLOCKS = [block for page in PAGES for block in blocks(page)]


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


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=str)
def test_a_block_of_shell_is_typed_by_a_test_or_says_why_not(block: Block) -> None:
    assert "<!--" not in block.above or block.test != ANYWHERE, "a mark that says nothing"
    if block.excuse is not None:
        kind, _ = block.excuse
        assert kind in EXCUSES, f"only {', '.join(EXCUSES)} excuse a block"
        return
    assert block.test is not None
    test = ROOT / block.test
    assert test.is_file(), f"{block.test}, which types it, isn't there"
    if block.test != OF_README:
        assert block in shown_to(str(test))
        source = test.read_text()
        calls = re.findall(r"shown_to\(\s*__file__(.*?)\)", source, re.DOTALL)
        assert any(not names or f'"{block.page.name}"' in names for names in calls)


def test_python_stands_where_a_test_executes_it() -> None:
    assert {b.page.name for b in BLOCKS if b.language == "python"} == {"python.md"}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language not in _EXECUTED], ids=str)
def test_no_other_kind_of_block_hides_a_command(block: Block) -> None:
    assert block.language in _SHOWN, "say what it is; `sh` is what people type"
    if block.language != "dockerfile":
        assert not [line for _, line in block.lines if _SHELL.match(line)], block


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_airflows_command_is_the_one_with_our_environment(page: Path) -> None:
    code = [line for b in blocks(page) for _, line in b.lines]
    code += re.findall(r"`([^`\n]+)`", page.read_text())
    bare = re.compile(r"airflow (dags|tasks|backfill|pools|users|connections|variables|db) ")
    assert not [line for line in code if bare.match(line)]
