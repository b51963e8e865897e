from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from magneton_tasks.cli import main
from magneton_tasks.runners.command import plan_command, stage_command

START = [sys.executable, "-m", "magneton_tasks"]


def test_a_stage_is_a_path_and_integers() -> None:
    assert stage_command("pool", Path("/w/runs/a b/1")) == [
        *START,
        "pool",
        "--run",
        "/w/runs/a b/1",
    ]
    assert stage_command("apply", "/w", 3, (0, 8)) == [
        *START,
        "apply",
        "--run",
        "/w",
        "--batch",
        "3",
        "--part",
        "0/8",
    ]


@pytest.mark.parametrize(
    "value",
    [0.5, 3, True, None, "aff50_his256", "2024-05-01", "null", "0123", "a: b", "$(reboot); `x`", "--restart",
     [64, 64, 64], {"begin": [0, 0, 0], "end": [1, 2, 3]}, "", "line\nbreak", "[", "é"],
)  # fmt: skip
def test_a_value_arrives_as_it_was_sent(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the form to the worker: never shell text, never another type."""
    arrived: dict[str, object] = {}

    def plan(config: Path, run_id: str, **options: object) -> None:
        arrived.update(options, config=str(config), run_id=run_id)

    monkeypatch.setattr("magneton_tasks.cli.run.planning.plan", plan)
    command = plan_command(
        "/c/volume.yaml",
        "--odd id",
        {"input.version": value},
        "2024-05-01",
        ["segment", "pool"],
        True,
        True,
    )
    assert command[:3] == START
    done = CliRunner().invoke(main.cli, command[3:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert arrived["sets"] == {"input.version": value}
    assert type(arrived["sets"]["input.version"]) is type(value)
    assert (arrived["config"], arrived["run_id"]) == ("/c/volume.yaml", "--odd id")
    assert arrived["partition"] == "2024-05-01"
    assert arrived["stages"] == ("segment", "pool")
    assert arrived["restart"] is True
    assert arrived["form"] is True


def test_a_plan_command_says_no_more_than_it_was_asked() -> None:
    assert plan_command("c.yaml", "r") == [*START, "plan", "c.yaml", "--run-id=r"]
