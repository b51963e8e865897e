"""Configs in odd encodings, of odd values, and what isn't a file: 78, with file and reason, everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from magneton_tasks.base.units import parse_duration, parse_size
from magneton_tasks.config.read import load_config, parse_config
from magneton_tasks.errors import ConfigError
from tests.helpers.calls import Caller
from tests.helpers.odd_configs import ODD, TYPICAL
from tests.helpers.plans import MINIMAL


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capfd)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_config_is_refused_with_file_and_reason(kind: str, tmp_path: Path) -> None:
    make, reason = ODD[kind]
    path = tmp_path / "volume.yaml"
    make(path)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


#: `{c}` is the config. Commands that open no config aren't here.
COMMANDS = (
    "run {c}", "run {c} --dry-run", "plan {c} --run-id r", "status {c}", "status {c} --json",
    "view {c}", "clean {c}", "try {c} --no-view", "tune {c} --truth file:///t", "config check {c}",
    "config show {c}", "config show {c} --source", "config set {c} segment.threshold=0.5",
    "config import {c} new.yaml", "maintain {c}", "report {c}", "attach {c}",
)  # fmt: skip


@pytest.mark.parametrize("kind", TYPICAL)
def test_every_command_tells_why_and_ends_with_78(
    kind: str, tmp_path: Path, cli: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, reason = ODD[kind]
    path = tmp_path / "volume.yaml"
    make(path)
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        done = cli(*(word.format(c=path) for word in command.split()))
        assert done.code == 78, (command, done.err)
        assert str(path) in done.err, command
        assert reason in done.err, command


def test_an_alias_that_stands_for_another_value_is_read() -> None:
    config = parse_config(
        "paths: {input: &i file:///a, output: file:///b, work: /w}\nmask: {path: *i}\n", "v.yaml"
    )
    assert config.mask.path == "file:///a"


def test_a_merged_key_may_be_set_anew() -> None:
    text = f"{MINIMAL}mask: {{<<: {{mip: 3}}, mip: 1}}\n"
    assert parse_config(text, "v.yaml").mask.mip == 1


@pytest.mark.parametrize(
    "line",
    ["input: {mip: 1%s}", "block: {size: [1%s, 1, 1]}", "local: {memory: 1%s}", "local: {memory: 1%sGiB}",
     "box: {begin: [0, 0, 0], end: [1%s, 1, 1]}", "paths.visibility_wait_s: 1%s", "wait_for_input: {timeout: 1%sh}"],
)  # fmt: skip
def test_numbers_that_nothing_can_hold_are_refused(line: str) -> None:
    text = f"{MINIMAL}{line % ('0' * 400)}\n"
    with pytest.raises(ConfigError, match=r"v\.yaml, line 5") as caught:
        parse_config(text, "v.yaml")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", ["9" * 5000, "[1, 2", "!!bool 7", "[" * 1000])
def test_an_odd_value_on_the_command_line_is_64(value: str, tmp_path: Path, cli: Caller) -> None:
    path = tmp_path / "volume.yaml"
    path.write_text(MINIMAL)
    done = cli("config", "check", path, "--set", f"input.mip={value}")
    assert done.code == 64
    assert "input.mip: " in done.err
    assert "is not YAML" in done.err


def test_sizes_and_times_beyond_all_numbers_are_none() -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size("9" * 400 + "G")
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration("9" * 400 + "d")
