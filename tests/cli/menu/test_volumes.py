"""The choice of a volume: several, remembered, broken, with a partition."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from magneton_tasks.cli.menu import remembered
from tests.cli.menu.terminal import GO_ON, OPTION, START, Terminal, listing
from tests.helpers import volumes

pytestmark = pytest.mark.usefixtures("warm")

Copy = Callable[..., Path]
CHOICE = "path of a volume config"


def write(folder: Path, name: str) -> Path:
    """A config that is right; its input needn't be there."""
    folder.mkdir(exist_ok=True)
    return volumes.write_config(folder).rename(folder / f"{name}.yaml")


def test_the_choice_of_several_volumes_is_remembered(tmp_path: Path) -> None:
    configs = [write(tmp_path, name) for name in ("cortex", "retina")]
    elsewhere = write(tmp_path / "elsewhere", "fly")
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, "3")
        shown = menu.answer(CHOICE, "3")
        rows = [line.split()[:3] for line in shown.splitlines()]
        assert ["1", "cortex", str(configs[0])] in rows
        assert ["2", "retina", str(configs[1])] in rows
        assert "there is no number 3: 1 to 2" in menu.answer(CHOICE, "no/such.yaml")
        assert "there is no file no/such.yaml" in menu.answer(CHOICE, "2")
        assert "Instance segmentation of retina" in menu.answer(OPTION, "c")
        menu.answer(CHOICE, "elsewhere/fly.yaml")
        assert f"config  {elsewhere} (the global configuration)" in menu.answer(OPTION, "0")
        menu.answer(OPTION, "0")
        assert menu.ends() == 0
    # the next time Enter takes it, and it stands in the list
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, "3")
        menu.answer(f"{CHOICE} [3]: ", "")
        assert "Instance segmentation of fly" in menu.answer(OPTION, "q")
        menu.answer(OPTION, "q")
        menu.ends()


def test_nothing_is_found(tmp_path: Path) -> None:
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, "3")
        shown = menu.answer("n, or path: ", "q")
        assert "magneton config new my.yaml" in shown
        menu.answer(OPTION, "q")
        assert menu.ends() == 0


@pytest.mark.parametrize("content", ["{", '["a"]', '{"config": 7, "partitions": []}', "\x00\xff"])
def test_a_broken_state_file_disturbs_nobody(content: str, tmp_path: Path) -> None:
    write(tmp_path, "cortex")
    state = tmp_path / "state" / "magneton" / "menu.json"
    state.parent.mkdir(parents=True)
    state.write_text(content, encoding="latin-1")
    with Terminal(tmp_path) as menu:
        menu.answers((OPTION, "3"), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
        assert "Traceback" not in menu.shown
    assert json.loads(state.read_text())["config"] == str(tmp_path / "cortex.yaml")


def test_a_state_that_can_t_be_written_disturbs_nobody(tmp_path: Path) -> None:
    write(tmp_path, "cortex")
    (tmp_path / "state").write_text("a file where a directory should be")
    with Terminal(tmp_path) as menu:
        menu.answers((OPTION, "3"), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0


@pytest.mark.parametrize("given", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}])
def test_the_state_lies_where_the_xdg_specification_says(
    given: dict[str, str], tmp_path: Path
) -> None:
    chosen = remembered.state_file({"XDG_STATE_HOME": str(tmp_path)})
    assert chosen == tmp_path / "magneton" / "menu.json"
    assert remembered.state_file(given) == Path.home() / ".local/state/magneton/menu.json"


# ------------------------------------------------------------------ broken
def test_a_broken_config_is_listed_with_its_error_and_can_be_edited(
    copy_of: Copy, tmp_path: Path
) -> None:
    write(tmp_path, "cortex")
    config = copy_of()
    text = config.read_text()
    config.write_text(text.replace("threshold: 0.5", "treshold: 0.5"))
    editor = config.parent / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/treshold/threshold/ "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    with Terminal(config.parent, env={"EDITOR": str(editor)}) as menu:
        menu.answer(OPTION, "3")
        assert "WRONG: " in menu.answer(CHOICE, "2")
        shown = menu.answer(OPTION, "1")
        assert "did you mean segment.threshold?" in shown
        assert "fix the config first: option 9" in menu.answer(GO_ON, "")
        menu.answers((OPTION, "9"), (GO_ON, ""))
        assert "WRONG" not in menu.answer(OPTION, "1")
        assert "27 of 27" in menu.answer(START, "q")
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert config.read_text() == text


def test_an_unreadable_config_is_listed_too(tmp_path: Path) -> None:
    write(tmp_path, "cortex")
    (tmp_path / "latin.yaml").write_bytes(b"paths: {input: \xff}\n")
    (tmp_path / "none.yaml").symlink_to(tmp_path / "gone.yaml")
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, "3")
        shown = menu.answer(CHOICE, "q")
        assert shown.count("WRONG: ") == 2
        menu.answer(OPTION, "q")
        assert menu.ends() == 0


# ------------------------------------------------------------------ partition
def test_a_partition_is_asked_for_and_remembered(copy_of: Copy, tmp_path: Path) -> None:
    config = copy_of(
        output=f"file://{tmp_path}/{{partition}}/s", work=f"{tmp_path}/{{partition}}/w"
    )
    before = listing(tmp_path)
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, "3")
        assert f"The paths of {config} hold {{partition}}." in menu.until("partition: ")
        menu.process.sendline("a/b")
        assert "can't be a part of a path" in menu.answer("partition: ", "day1")
        shown = menu.answer(OPTION, "1")
        assert f"output  file://{tmp_path}/day1/s" in shown
        assert f"output    file://{tmp_path}/day1/s" in menu.answer(START, "q")
        menu.answers((GO_ON, ""), (OPTION, "0"), (OPTION, "3"), ("partition [day1]: ", "q"))
        menu.answer(OPTION, "0")
        assert menu.ends() == 0
    assert listing(tmp_path) == before
