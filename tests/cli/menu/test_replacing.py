"""On a terminal, nobody loses a finished result without having said yes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.config.read import load_config
from tests.cli.menu.terminal import GO_ON, OPTION, PARAMETER, START, Terminal, listing
from tests.helpers import volumes

pytestmark = pytest.mark.usefixtures("warm")

Copy = Callable[..., Path]

ASKS = "Replace it? (y/n) [n]: "
OTHER = ("--set", "pool.min_frac=0.9")


@pytest.fixture
def finished(copy_of: Copy) -> Path:
    """A config with a finished output."""
    config = copy_of("segment", "count", "pool")
    volumes.run_pipeline(config, run="first")
    return config


def result(config: Path) -> dict[str, tuple[int, float]]:
    """All files of the output: what a person could lose."""
    return listing(config.parent / "segmentation")


@pytest.mark.parametrize("answer", ["", "n", "q", "\x03"])
def test_run_asks_and_anything_but_yes_keeps_the_result(finished: Path, answer: str) -> None:
    before = result(finished)
    with Terminal(finished.parent, "run", "volume.yaml", *OTHER) as run:
        shown = run.until(ASKS)
        assert "REPLACES  the finished result in " in shown and ", of run first" in shown
        assert "pool.min_frac: 0.5 -> 0.9" in shown
        run.interrupt() if answer == "\x03" else run.process.sendline(answer)
        assert run.ends() == 130
        assert "Traceback" not in run.shown
    assert result(finished) == before
    assert not (finished.parent / "work" / "lease").exists()
    assert not (finished.parent / "segmentation" / "lease").exists()
    # and the result is still known to be complete
    rerun = volumes.plan_run(finished, run="again")
    volumes.release(rerun)
    assert rerun.plan.nothing_to_do


def test_run_replaces_after_a_yes(finished: Path) -> None:
    with Terminal(finished.parent, "run", "volume.yaml", *OTHER) as run:
        run.answer(ASKS, "y")
        assert run.ends() == 0
    assert volumes.read_owner(finished)["config"]["pool"]["min_frac"] == 0.9


def test_yes_and_a_rerun_and_another_output_ask_nothing(finished: Path) -> None:
    for args in (
        (),
        (*OTHER, "--set", f"paths.output=file://{finished.parent}/other"),
        (*OTHER, "--yes"),
    ):
        with Terminal(finished.parent, "run", "volume.yaml", *args) as run:
            assert run.ends() == 0
            assert ASKS not in run.shown
            assert ("REPLACES" in run.shown) == ("--yes" in args)


def test_plan_on_a_terminal_asks_too(finished: Path) -> None:
    before = result(finished)
    with Terminal(finished.parent, "plan", "volume.yaml", "--run-id", "x", *OTHER) as plan:
        plan.answer(ASKS, "")
        assert plan.ends() == 0
        assert "left; nothing was changed" in plan.shown
    assert result(finished) == before


def test_the_menu_asks_for_changed_parameters_and_for_a_changed_file(finished: Path) -> None:
    before = result(finished)
    segmentation = volumes.read_segmentation(load_config(finished).paths.output)
    finished.write_text(finished.read_text().replace("threshold: 0.5", "threshold: 0.9"))
    with Terminal(finished.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "1"))
        assert "apply, with these settings, will replace the finished" in menu.until(START)
        menu.process.sendline("s")
        menu.answers((GO_ON, ""), (OPTION, "3"), (START, "s"), (GO_ON, ""), (OPTION, "5"))
        shown = menu.until(START)
        assert "REPLACES  the finished result in " in shown
        assert "segment.threshold: 0.5 -> 0.9" in shown
        menu.process.sendline("s")
        menu.answer(ASKS, "")
        assert "left; nothing was changed" in menu.answer(GO_ON, "")
        assert result(finished) == before
        # its own parameters, given for this run alone
        menu.answers((OPTION, "5"), (START, "p"), (PARAMETER, "encoding"))
        menu.answers(("keeps it [compressed_segmentation]: ", "raw"), (PARAMETER, ""))
        menu.answer("(y/n) [n]: ", "n")
        assert "apply.encoding: compressed_segmentation -> raw" in menu.answer(START, "s")
        menu.answers((ASKS, "n"), (GO_ON, ""))
        assert result(finished) == before
        menu.answers((OPTION, "5"), (START, "s"), (ASKS, "y"), (GO_ON, ""))
        menu.answers((OPTION, "0"), (OPTION, "0"))
        assert menu.ends() == 0
    now = volumes.read_segmentation(load_config(finished).paths.output)
    assert not np.array_equal(now, segmentation)


def test_a_restart_in_the_menu_asks(finished: Path) -> None:
    before = result(finished)
    with Terminal(finished.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "5"), ("1 or 2 [1]: ", "2"), (START, "s"))
        shown = menu.answer(ASKS, "")
        assert "the settings are the same; the restart does all of it again" in shown
        menu.answers((GO_ON, ""), (OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert result(finished) == before
