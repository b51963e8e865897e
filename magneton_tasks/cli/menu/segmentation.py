"""Instance segmentation: the ten options that users of the Magneton menu tool know, and letters for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from magneton_tasks.cli.console import Quit, say
from magneton_tasks.cli.menu import hpc, looking, stage, volumes
from magneton_tasks.cli.menu.asking import choose, pause
from magneton_tasks.cli.menu.volumes import MenuVolume
from magneton_tasks.cli.paging import paged
from magneton_tasks.errors import MagnetonError, NoInputError

_SEGMENT = ("affinity map segmentation by blocks", "labels in each block of the affinity map")
_POOL = ("blocks merging: pools", "which labels of neighbouring blocks are one object")
_APPLY = ("blocks merging: apply", "writes the segmentation of the full volume")
_OPTIONS = (
    ("1", f"{_SEGMENT[0]}, local", f"{_SEGMENT[1]}, on this machine"),
    ("2", f"{_SEGMENT[0]}, HPC", "the same on a Slurm cluster"),
    ("3", f"{_POOL[0]}, local", f"{_POOL[1]}, on this machine"),
    ("4", f"{_POOL[0]}, HPC", "the same on a Slurm cluster"),
    ("5", f"{_APPLY[0]}, local", f"{_APPLY[1]}, on this machine"),
    ("6", f"{_APPLY[0]}, HPC", "the same on a Slurm cluster"),
    ("7", "status", "what is done, running, failed or missing"),
    ("8", "clean", "free block caches and merge checkpoints"),
    ("9", "edit the global configuration", "the config of the volume above"),
    ("10", "view the global configuration", "every value of it, and where it comes from"),
    ("r", "whole run", "all steps, on this machine or where the config says"),
    ("t", "try", "a box at several thresholds, side by side in Neuroglancer"),
    ("u", "tune", "the best threshold on a box with truth"),
    ("h", "thresholds", "after a run: what each threshold would leave (exact)"),
    ("l", "list runs", "all runs in one table: settings that differ, objects, scores, cost"),
    ("v", "view", "affinity map and segmentation in Neuroglancer"),
    ("n", "new config", "make one for another affinity map, by questions"),
    ("c", "another volume", "choose another config"),
    ("0", "return", "to the main menu"),
)


@dataclass(frozen=True)
class _Menu:
    console: Console
    volume: MenuVolume


def open_menu(console: Console) -> None:
    """Choose a volume, then an option of it, until a person returns.

    Raises
    ------
    Quit
        The answer was q, or the input ended.
    """
    volume = volumes.choose(console, Path.cwd())
    while True:
        volume = volume.reloaded()
        _show(console, volume)
        answer = choose("option", [row[0] for row in _OPTIONS], "1 to 10, a letter, or 0 to return")
        if answer == "0":
            return
        if answer == "c":
            volume = volumes.choose(console, Path.cwd(), another=True)
            continue
        if answer == "n":
            volume = _new(console) or volume
            continue
        _perform(_Menu(console, volume), answer)
        pause()


def _new(console: Console) -> MenuVolume | None:
    """A config that was made by questions; None: a person left, or it couldn't be made."""
    try:
        return volumes.remembered(console, volumes.make(console))
    except (Quit, KeyboardInterrupt):
        click.echo("left; nothing was changed")
    except (MagnetonError, OSError) as error:
        say(console, f"error: {error}", "red")
    pause()
    return None


def _perform(menu: _Menu, option: str) -> None:
    """Whatever goes wrong with an option, the menu goes on."""
    console, volume = menu.console, menu.volume
    try:
        if volume.error is not None and option != "9":
            say(console, volume.error, "red")
            say(console, "fix the config first: option 9")
            return
        if option in _LOCAL:
            stage.dialog(console, volume, _LOCAL[option], option)
        elif option in _HPC:
            hpc.dialog(console, volume, _HPC[option], option)
        else:
            _OTHERS[option](menu)
    except (Quit, KeyboardInterrupt):
        click.echo("left; nothing was changed")
    except (MagnetonError, OSError) as error:
        say(console, f"error: {error}", "red")


def _show(console: Console, volume: MenuVolume) -> None:
    """The volume, whose config is what the options call the global configuration; the options."""
    say(
        console,
        f"\nInstance segmentation of {volume.name} {volume.partition or ''}".rstrip(),
        "bold",
    )
    lines = [("config", f"{volume.path} (the global configuration)")]
    if volume.config is not None:
        paths = volume.config.paths
        lines += [("input", paths.input), ("output", paths.output), ("work", paths.work)]
    for name, value in lines:
        say(console, f"  {name:<8}{value}")
    if volume.error is not None:
        say(console, f"  WRONG   {volume.error}", "red")
    click.echo()
    table = Table("option", "function", "description", box=None, pad_edge=False)
    for row in _OPTIONS:
        table.add_row(*row)
    console.print(table)
    click.echo()


def _status(menu: _Menu) -> None:
    from magneton_tasks.cli.status import status

    try:
        with paged():
            status.show(menu.volume.path, menu.volume.partition, False)
    except NoInputError as error:
        say(menu.console, error.what)
        say(menu.console, "To begin: option 1 does the first step, r the whole run.")


def _clean(menu: _Menu) -> None:
    from magneton_tasks.clean.kinds import ALL, IN_WORK, KINDS
    from magneton_tasks.cli.clean import clean

    for kind in KINDS:
        if kind.in_work:
            say(menu.console, f"{kind.name}: {kind.meaning}")
    say(menu.console, f"{ALL}: all of these")
    what = choose("what", IN_WORK, ", ".join(IN_WORK), "stale")
    clean.clean(menu.volume.path, what, None, False, False, menu.volume.partition, False)


def _edit(menu: _Menu) -> None:
    from magneton_tasks.cli.config import edit as config_edit

    # the table of a config that is wrong can't be shown
    config_edit.edit(menu.volume.path, editor=menu.volume.error is not None)


def _show_config(menu: _Menu) -> None:
    from magneton_tasks.cli.config import show as config_show

    with paged():
        config_show.show(menu.volume.path, {}, resolved=True, source=True)


def _run(menu: _Menu) -> None:
    stage.dialog(menu.console, menu.volume, stage.ALL, "r")


_LOCAL = {"1": stage.SEGMENT, "3": stage.POOL, "5": stage.APPLY}
_HPC = {"2": stage.SEGMENT, "4": stage.POOL, "6": stage.APPLY}
_OTHERS: dict[str, Callable[[_Menu], None]] = {
    "7": _status,
    "8": _clean,
    "9": _edit,
    "10": _show_config,
    "r": _run,
    "t": lambda menu: looking.try_thresholds(menu.volume),
    "u": lambda menu: looking.tune(menu.volume),
    "h": lambda menu: looking.thresholds(menu.volume),
    "l": lambda menu: looking.runs(menu.volume),
    "v": lambda menu: looking.view(menu.volume),
}
