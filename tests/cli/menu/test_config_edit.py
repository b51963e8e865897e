"""``magneton config edit`` in a real pseudo-terminal."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from magneton_tasks.config.read import load_config

pytestmark = pytest.mark.usefixtures("warm")

TEXT = """\
# volume 7
paths:   {input: file:///data/affinity, output: file:///data/segmentation, work: /data/work}
segment: {threshold: 0.70}       # tuned
box:     null                    # all of it
method:  overlap
"""
NEXT = "number or name to change.*: "
Terminal = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "volume.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def terminal(config: Path) -> Iterator[Terminal]:
    """Starts `magneton config edit` on a terminal of 100 columns."""
    opened: list[pexpect.spawn[str]] = []

    def start(*options: str, **environment: str) -> pexpect.spawn[str]:
        not_these = ("VISUAL", "EDITOR", "LINES", "COLUMNS")  # pytest-xdist sets the last two
        env = {k: v for k, v in os.environ.items() if k not in not_these}
        child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable,
            ["-m", "magneton_tasks", "config", "edit", str(config), *options],
            env={**env, "TERM": "dumb", "NO_COLOR": "1", **environment},
            encoding="utf-8",
            timeout=60,
            dimensions=(200, 100),  # tables don't stop
            echo=False,
        )
        opened.append(child)
        return child

    yield start
    for child in opened:
        child.close(force=True)


def answer(child: pexpect.spawn[str], *dialog: tuple[str, str]) -> None:
    """Wait for each question and type its answer."""
    for question, text in dialog:
        child.expect(question)
        child.sendline(text)


def end(child: pexpect.spawn[str]) -> tuple[str, int]:
    """The rest of the output, and the exit code."""
    child.expect(pexpect.EOF)
    rest = child.before
    child.close()
    assert isinstance(rest, str)
    return rest, int(child.exitstatus or 0)


# ---------------------------------------------------------------------------- the table


def test_values_are_changed_in_the_table_and_saved_with_the_comments(
    terminal: Terminal, config: Path
) -> None:
    config.chmod(0o640)
    child = terminal()
    child.expect("parameter +value +meaning")
    answer(
        child,
        (NEXT, "thres"),
        (r"segment\s+threshold\s+0.7.*aff_thresholds.*" + NEXT, "segment.threshold"),
        (r"segment\.threshold, Enter keeps it \[0\.7\]: ", "7"),
        (r"less than or equal to 1.*segment\.threshold.*\[0\.7\]: ", "0.6"),
        (r"segment\.threshold: 0\.7 -> 0\.6.*" + NEXT, "box.begin"),
        (r"box\.begin.*: ", "0 0 0"),
        (r"box\.end.*: ", "64,64,64"),
        (NEXT, ""),
        (r"segment\.threshold: 0\.7 -> 0\.6\s+save to .*: ", "y"),
    )
    rest, code = end(child)
    assert code == 0
    assert f"saved {config}" in rest
    assert config.read_text() == TEXT.replace("0.70", "0.6").replace(
        "box:     null ", "box:     {begin: [0, 0, 0], end: [64, 64, 64]} "
    )
    assert stat.S_IMODE(config.stat().st_mode) == 0o640


def test_another_rule_shows_its_own_rows(terminal: Terminal, config: Path) -> None:
    child = terminal()
    answer(child, (NEXT, "pool.rule"), ("Enter keeps it.*: ", "iou"))
    child.expect(
        r"pool\.min_iou: \(not read\) -> 0\.5.*pool +rule +iou \*.* min_iou +0\.5.*" + NEXT
    )
    answer_end(child)
    assert config.read_text() == TEXT


def answer_end(child: pexpect.spawn[str]) -> None:
    child.sendline("q")
    rest, code = end(child)
    assert code == 0
    assert "left; nothing was changed" in rest


@pytest.mark.parametrize(
    "dialog",
    [
        [(NEXT, "q")],
        [(NEXT, "threshold"), ("Enter keeps it.*: ", "q")],
        [(NEXT, "threshold"), ("Enter keeps it.*: ", "0.5"), (NEXT, "q")],
        [(NEXT, "threshold"), ("Enter keeps it.*: ", "0.5"), (NEXT, ""), ("save to .*: ", "q")],
    ],
)
def test_q_leaves_everywhere_without_a_change(
    terminal: Terminal, config: Path, dialog: list[tuple[str, str]]
) -> None:
    child = terminal()
    answer(child, *dialog)
    rest, code = end(child)
    assert code == 0
    assert "left; nothing was changed" in rest
    assert config.read_text() == TEXT


def test_no_change_and_no_saving_leave_the_file(terminal: Terminal, config: Path) -> None:
    child = terminal()
    answer(child, (NEXT, "?"), ("A wrong value is refused.*" + NEXT, ""))
    assert "nothing was changed" in end(child)[0]
    child = terminal()
    answer(child, (NEXT, "threshold"), ("keeps it.*: ", "0.5"), (NEXT, ""), ("save to .*: ", "n"))
    assert "not saved" in end(child)[0]
    assert config.read_text() == TEXT


def test_a_change_by_somebody_else_stays_and_is_asked_about(
    terminal: Terminal, config: Path
) -> None:
    child = terminal()
    answer(child, (NEXT, "threshold"), ("Enter keeps it.*: ", "0.5"), (NEXT, ""))
    child.expect("save to .*: ")
    theirs = TEXT.replace("null ", "{begin: [0, 0, 0], end: [9, 9, 9]}") + "# theirs\n"
    config.write_text(theirs)
    child.sendline("y")
    answer(child, ("changed by somebody else.*set these values.*: ", "y"))
    assert end(child)[1] == 0
    assert config.read_text() == theirs.replace("0.70", "0.5")


def test_a_broken_config_is_for_the_editor(terminal: Terminal, config: Path) -> None:
    config.write_text(TEXT + "blok: {}\n")
    rest, code = end(terminal())
    assert code == 78
    assert "line 6: unknown key blok" in rest
    assert "config edit" in rest
    assert "--editor" in rest


# ---------------------------------------------------------------------------- the editor


@pytest.fixture
def editor(tmp_path: Path) -> Callable[..., str]:
    """An `EDITOR` that replaces texts, one pair a call; it logs the path that it was given."""

    def make(*replacements: tuple[str, str], extra: str = "") -> str:
        folder = tmp_path / "an editor"
        folder.mkdir(exist_ok=True)
        script = folder / "edit it.py"
        script.write_text(
            f"""
import pathlib, sys
log = pathlib.Path({str(folder)!r}, "log")
n = len(log.read_text().splitlines()) if log.exists() else 0
path = pathlib.Path(sys.argv[-1])
with log.open("a") as file:
    print(path, file=file)
before, after = {replacements!r}[n]
path.write_text(path.read_text().replace(before, after))
{extra}
"""
        )
        return f"{sys.executable} '{script}' --wait"

    return make


def test_what_the_editor_leaves_is_saved_when_it_is_right(
    terminal: Terminal, config: Path, editor: Callable[..., str], tmp_path: Path
) -> None:
    config.chmod(0o600)
    command = editor(("0.70", "0.65 # was 0.70\n"))
    rest, code = end(terminal("--editor", EDITOR="/no/such/editor", VISUAL=command))
    assert (code, f"saved {config}" in rest) == (0, True), rest
    assert config.read_text() == TEXT.replace("0.70", "0.65 # was 0.70\n")
    assert load_config(config).segment.threshold == 0.65
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    copy = Path((tmp_path / "an editor" / "log").read_text().strip())
    assert copy.name == config.name
    assert copy != config
    assert not copy.parent.exists()


def test_a_wrong_text_is_shown_with_its_line_and_edited_again(
    terminal: Terminal, config: Path, editor: Callable[..., str]
) -> None:
    child = terminal("--editor", EDITOR=editor(("0.70", "7"), ("7}", "0.7}"), ("7}", "75}")))
    child.expect(
        r"volume\.yaml, line 3: segment\.threshold.*less than or equal to 1.*edit again.*: "
    )
    assert config.read_text() == TEXT
    child.sendline("")
    assert end(child)[1] == 0
    assert config.read_text() == TEXT.replace("0.70", "0.7")


def test_a_wrong_text_can_be_discarded(
    terminal: Terminal, config: Path, editor: Callable[..., str]
) -> None:
    child = terminal("--editor", EDITOR=editor(("segment: {", "segment: [")))
    answer(child, ("malformed YAML.*edit again.*: ", "q"))
    rest, code = end(child)
    assert (code, "left; nothing was changed" in rest) == (0, True)
    assert config.read_text() == TEXT


def test_a_broken_config_is_mended_in_the_editor(
    terminal: Terminal, config: Path, editor: Callable[..., str]
) -> None:
    config.write_text(TEXT + "blok: {}\n")
    assert end(terminal("--editor", EDITOR=editor(("blok", "block"))))[1] == 0
    assert config.read_text() == TEXT + "block: {}\n"


@pytest.mark.parametrize("replace_theirs", [True, False])
def test_two_editors_of_one_file_lose_nothing(
    terminal: Terminal, config: Path, editor: Callable[..., str], replace_theirs: bool
) -> None:
    theirs = TEXT + "# theirs\n"
    command = editor(("0.70", "0.5"), extra=f"open({str(config)!r}, 'w').write({theirs!r})")
    child = terminal("--editor", EDITOR=command)
    answer(child, ("changed by somebody else.*: ", "y" if replace_theirs else "n"))
    assert end(child)[1] == 0
    mine = TEXT.replace("0.70", "0.5")
    beside = config.with_name("volume.yaml.edited-1")
    assert config.read_text() == (mine if replace_theirs else theirs)
    assert beside.exists() != replace_theirs
    assert replace_theirs or beside.read_text() == mine


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [("", 0, "nothing was changed"), ("sys.exit(3)", 0, "ended with 3")],
)
def test_an_editor_that_changes_nothing_or_fails_changes_nothing(
    terminal: Terminal,
    config: Path,
    editor: Callable[..., str],
    extra: str,
    code: int,
    message: str,
) -> None:
    before = "0.70" if extra else "not there"
    done = end(terminal("--editor", EDITOR=editor((before, "0.5"), extra=extra)))
    assert done[1] == code
    assert message in done[0]
    assert config.read_text() == TEXT


def test_ctrl_c_belongs_to_the_editor(
    terminal: Terminal, config: Path, editor: Callable[..., str]
) -> None:
    """The editor gets it as any program does, and what it leaves is saved."""
    extra = """
import time
try:
    print("editing", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("caught", flush=True)
"""
    child = terminal("--editor", EDITOR=editor(("0.70", "0.5"), extra=extra))
    child.expect("editing")
    child.sendintr()
    child.expect("caught")
    rest, code = end(child)
    assert (code, f"saved {config}" in rest) == (0, True), rest


def test_an_editor_that_isn_t_there_is_named(terminal: Terminal, config: Path) -> None:
    rest, code = end(terminal("--editor", EDITOR="/no/such/editor -w"))
    assert code == 64
    assert "$EDITOR names /no/such/editor" in rest


def test_an_editor_s_name_never_becomes_shell_text(terminal: Terminal, tmp_path: Path) -> None:
    victim: Any = tmp_path / "victim"
    end(terminal("--editor", EDITOR=f"true; touch {victim}"))
    assert not victim.exists()
