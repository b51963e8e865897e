"""Every command of the tree: what its --help says, and what that costs; completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from magneton_tasks.cli.completing import SHELLS
from magneton_tasks.cli.main import cli
from magneton_tasks.plan.stage_table import PROBE, TABLE

#: Modules that --help has no use for: each costs a tenth of a CPU second or more, yaml a fiftieth.
HEAVY = (
    "DracoPy", "PIL", "bioimage_cpp", "cloudvolume", "jinja2", "matplotlib", "neuroglancer", "numba",
    "numpy", "psutil", "pyarrow", "pydantic", "rich", "ruamel", "scipy", "starlette",
    "waterz", "yaml", "zarr",
)  # fmt: skip
#: Names of options that hold a measure, and the words that say in what.
_MEASURES = re.compile(r"time|wait|memory|size|shape|older|interval|duration|age\b|limit|voxel|box")
_UNITS = re.compile(r"second|minute|voxel|nm\b|bytes|[KMGT]iB|\d+[smhdw]\b", re.IGNORECASE)


def tree(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from tree(inner, f"{name} {inner.name}")


COMMANDS = dict(tree(cli, "magneton"))


def test_the_tree_holds_what_it_should() -> None:
    assert set(COMMANDS) >= {
        "magneton",
        "magneton run",
        "magneton status",
        "magneton clean",
        "magneton config",
        "magneton config edit",
        "magneton view",
        "magneton tune",
        "magneton completion",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_of_this_command(name: str) -> None:
    command = COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=name))
    example = text.partition("Example:  ")[2]
    assert example, f"{name} --help shows no example"
    assert name in example
    assert command.help


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if isinstance(c, click.Group)])
def test_a_list_of_commands_is_readable_on_a_narrow_terminal(name: str) -> None:
    context = click.Context(COMMANDS[name], info_name=name, terminal_width=80)
    listed = COMMANDS[name].get_help(context).partition("Commands:")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_options_that_take_a_measure_say_its_unit(name: str) -> None:
    for option in COMMANDS[name].params:
        if not isinstance(option, click.Option) or option.is_flag:
            continue
        if _MEASURES.search(" ".join(option.opts)):
            said = f"{' '.join(option.opts)} {option.metavar or ''} {option.help or ''}"
            assert _UNITS.search(said), f"{name}: {option.opts[0]} doesn't say its unit"


@pytest.mark.parametrize("name", COMMANDS)
def test_options_say_what_they_are(name: str) -> None:
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option) and not isinstance(option.type, click.Choice):
            assert option.help, f"{name}: {option.opts[0]}"


#: What people type; all else is what runs call.
FOR_PEOPLE = (
    "sample", "config", "try", "tune", "cut", "run", "attach", "status", "evaluate", "view", "report",
    "skeleton", "check-layer",
    "clean", "maintain", "doctor", "airflow", "warm", "completion",
)  # fmt: skip


def test_what_runs_call_is_listed_by_help_all_alone() -> None:
    said = {}
    for option in ("--help", "--help-all"):
        result = CliRunner().invoke(cli, [option])
        assert result.exit_code == 0
        listed = re.findall(r"^  ([a-z][\w-]*)  ", result.output, re.MULTILINE)
        said[option] = set(listed) - {"h"}
    plumbing = {s.name for s in (PROBE, *TABLE)} - {"cut", "skeleton"} | {"plan", "release"}
    assert plumbing.isdisjoint(said["--help"]) and said["--help"] >= set(FOR_PEOPLE)
    assert said["--help-all"] == said["--help"] | plumbing
    assert {c for c in cli.commands if cli.commands[c].hidden} == plumbing


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from magneton_tasks.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print(*({HEAVY!r} & sys.modules.keys()), file=sys.stderr)"
    ).replace(repr(HEAVY), repr(set(HEAVY)))
    for args in (["--help"], ["run", "--help"], ["config", "--help"], ["completion", "bash"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
        )
        assert done.stdout
        assert done.stderr.split() == [], args


# ------------------------------------------------------------------ completion
@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_the_script_of_each_shell(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert f"_MAGNETON_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


def test_completion_takes_the_shell_of_the_environment() -> None:
    assert "zsh_complete" in run("completion", SHELL="/usr/bin/zsh").stdout
    done = run("completion", SHELL="/bin/dash")
    assert done.returncode == 64
    assert "name one of bash, zsh, fish" in done.stderr


def test_bash_completes_commands_and_options_with_that_script(tmp_path: Path) -> None:
    program = tmp_path / "magneton"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m magneton_tasks "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(magneton completion bash)"\n'
        'try() { COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_magneton_completion magneton; echo "${COMPREPLY[@]}"; }\n'
        "try magneton st; try magneton run --dry; try magneton clean --what st\n"
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.stdout.split() == ["status", "--dry-run", "stale"], done.stderr


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "magneton_tasks", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
