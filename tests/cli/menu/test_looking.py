"""Options 7 to 10: status, clean, and the global configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from magneton_tasks.config.read import load_config
from tests.cli.menu.terminal import GO_ON, OPTION, PARAMETER, Terminal, listing
from tests.helpers import volumes

pytestmark = pytest.mark.usefixtures("warm")

Copy = Callable[..., Path]


def test_option_7_is_the_status(copy_of: Copy) -> None:
    config = copy_of("segment")
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "7"))
        # before any run: an error is a line, not the end of the menu
        assert "holds no run yet" in menu.answer(GO_ON, "")
        run = volumes.plan_run(config, run="planned")
        volumes.release(run)
        menu.answer(OPTION, "7")
        rows = [line.split() for line in menu.answer(GO_ON, "").splitlines()]
        assert ["run", "planned,", "attempt", "1,"] in [row[:4] for row in rows]
        assert ["segment", "27"] in [row[:2] for row in rows]
        assert ["count", "0"] in [row[:2] for row in rows]
        menu.answers((OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0


def test_option_8_asks_what_to_clean_and_then_whether(copy_of: Copy) -> None:
    config = copy_of("segment")
    volumes.release(volumes.plan_run(config, run="planned"))  # marks the work directory
    before = listing(config.parent)
    labels = next((config.parent / "work").glob("segment-*/labels.zarr"))
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "8"))
        shown = menu.answer("what [stale]: ", "everything")
        assert "records: merge checkpoints" in shown
        assert "'everything' is no option; choose cache, cuts, records" in menu.answer(
            "what [stale]: ", "cache"
        )
        assert labels.parent.name in menu.answer("(y/n) [n]: ", "n")
        assert "left; nothing was changed" in menu.answer(GO_ON, "")
        assert listing(config.parent) == before
        menu.answers((OPTION, "8"), ("what [stale]: ", "cache"), ("(y/n) [n]: ", "y"))
        assert "freed " in menu.answer(GO_ON, "")
        menu.answers((OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert not labels.exists()


def test_option_9_edits_the_chosen_config(copy_of: Copy) -> None:
    config = copy_of()
    config.write_text(f"# a comment that stays\n{config.read_text()}")
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "9"), (PARAMETER, "segment.threshold"))
        menu.answers(("keeps it [0.5]: ", "0.65"), (PARAMETER, ""), ("(y/n) [y]: ", "y"))
        assert f"saved {config}" in menu.answer(GO_ON, "")
        menu.answers((OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert load_config(config).segment.threshold == 0.65
    assert config.read_text().startswith("# a comment that stays\n")


def test_option_10_shows_each_value_and_where_it_comes_from(copy_of: Copy) -> None:
    config = copy_of()
    before = listing(config.parent)
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "10"))
        shown = menu.answer(GO_ON, "")
        rows = [line.split() for line in shown.splitlines()]
        assert ["segment.threshold", "0.5", "file,", "line"] in [row[:4] for row in rows]
        assert ["pool.rule", "mutual", "default"] in rows
        menu.answers((OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0
    assert listing(config.parent) == before
