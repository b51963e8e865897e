"""Options 7 to 10, and the letters: status, clean, the global configuration, try, tune, view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from magneton_tasks.cli.menu import volumes as menu_volumes
from magneton_tasks.cli.paging import MORE
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
        shown = menu.answer(GO_ON, "")
        assert "holds no run yet" in shown and "option 1 does the first step" in shown
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


def test_tables_stop_at_the_height_of_the_terminal(copy_of: Copy) -> None:
    config = copy_of()
    with Terminal(config.parent, lines=24) as menu:
        menu.answers((OPTION, "3"), (OPTION, "10"))
        first = menu.answer(MORE, "")
        assert first.count("\n") in (23, 24) and "paths.input" in first
        second = menu.answer(MORE, "q")
        assert second.count("\n") in (23, 24) and "paths.input" not in second
        assert "schema" not in menu.answer(GO_ON, "")
        menu.answers((OPTION, "9"), (MORE, "q"), (PARAMETER, "q"), (GO_ON, ""))
        menu.answers((OPTION, "q"), (OPTION, "q"))
        assert menu.ends() == 0


def test_letters_look_at_thresholds_and_results_and_can_be_left(copy_of: Copy) -> None:
    config = copy_of()
    before = listing(config.parent)
    with Terminal(config.parent) as menu:
        menu.answers((OPTION, "3"), (OPTION, "t"), ("[around the map's own]: ", "2"))
        assert "isn't in [0, 1]" in menu.answer("[around the map's own]: ", "q")
        assert "left; nothing was changed" in menu.answer(GO_ON, "")
        menu.answers((OPTION, "u"), ("truth, such as file:///data/truth: ", "q"), (GO_ON, ""))
        menu.answer(OPTION, "h")
        assert "error: " in menu.answer(GO_ON, "")  # the overlap method has no such curve
        menu.answer(OPTION, "v")
        menu.until("http://127.0.0.1:")
        menu.interrupt()
        menu.answer(GO_ON, "")
        menu.answers((OPTION, "n"), ("such as volume.yaml: ", "new.yaml"), ("Affinity map", "q"))
        assert "left; nothing was changed" in menu.answer(GO_ON, "")
        assert f"config  {config} " in menu.answer(OPTION, "q")
        menu.answer(OPTION, "q")
        assert menu.ends() == 0
    assert listing(config.parent) == before


def test_a_new_config_is_the_menus_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def new(config: Path, **_: object) -> None:
        volumes.write_config(tmp_path).rename(config)

    monkeypatch.setattr("magneton_tasks.cli.config.new.new", new)
    monkeypatch.setattr("builtins.input", lambda _: str(tmp_path / "fresh.yaml"))
    made = menu_volumes.make(Console())
    assert made.name == "fresh" and made.config is not None and made.error is None
