"""The choice of a volume config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from magneton_tasks.cli.console import ask, say
from magneton_tasks.cli.menu.remembered import recall, remember
from magneton_tasks.cli.paging import paged
from magneton_tasks.config.places import menu_places
from magneton_tasks.config.read import RunConfig, find_configs, load_config
from magneton_tasks.errors import MagnetonError, NoInputError

#: Makes a config, in the place of the number of one.
_NEW = "n"


@dataclass(frozen=True)
class MenuVolume:
    """A volume config that was chosen; ``error`` instead of ``config`` where it is wrong."""

    path: Path
    config: RunConfig | None
    error: str | None = None
    partition: str | None = None

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def load(cls, path: Path, partition: str | None = None) -> MenuVolume:
        """Read a config; a wrong one is no error here."""
        try:
            return cls(path, load_config(path, partition=partition), None, partition)
        except MagnetonError as error:
            return cls(path, None, str(error), partition)

    def reloaded(self) -> MenuVolume:
        """As the file is now."""
        return MenuVolume.load(self.path, self.partition)

    @property
    def needs_partition(self) -> bool:
        return self.config is not None and any(
            "{partition}" in str(v) for v in self.config.paths.model_dump().values()
        )


def found_volumes(here: Path, environ: Mapping[str, str] = os.environ) -> list[MenuVolume]:
    """Configs where Airflow looks, in ``configs/``, and those of the current directory."""
    paths = find_configs(menu_places(here, environ))
    paths += [p for p in find_configs([here]) if _looks_like_config(p)]
    unique = {p.resolve(): p for p in reversed(paths)}
    return [MenuVolume.load(p) for p in sorted(unique.values(), key=lambda p: (p.stem, str(p)))]


def _looks_like_config(path: Path) -> bool:
    """The current directory may hold any YAML: a volume config has paths."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(line.startswith("paths:") for line in file)
    except OSError:
        return False


def choose(console: Console, here: Path, *, another: bool = False) -> MenuVolume:
    """Let a person choose a volume, and remember it.

    Parameters
    ----------
    another
        Ask even where there's only one.

    Raises
    ------
    Quit
        The answer was q, or the input ended.
    """
    known = recall()
    found = found_volumes(here)
    last = None if known.config is None else Path(known.config)
    listed = [v.path.resolve() for v in found]
    if last is not None and last.is_file() and last.resolve() not in listed:
        found.append(MenuVolume.load(last))  # its path was typed
    if len(found) == 1 and not another:
        volume = found[0]
        say(console, f"The only volume config found: {volume.path}")
    else:
        volume = _ask(console, found, known.config)
    return remembered(console, volume)


def remembered(console: Console, chosen: MenuVolume) -> MenuVolume:
    """A volume with its partition, which is asked for; both are remembered. Raises as `choose`."""
    path = Path(os.path.abspath(chosen.path))
    volume = MenuVolume.load(path)
    if volume.needs_partition:
        partition = ask_partition(console, volume, recall().partitions.get(str(path)))
        volume = MenuVolume.load(path, partition)
    remember(path, volume.partition)
    return volume


def make(console: Console) -> MenuVolume:
    """Make a config by questions, as ``magneton config new``.

    Raises
    ------
    Quit
        The answer was q, or the input ended: nothing was written.
    MagnetonError
        The volume can't be read, or plan refuses what was answered.
    """
    from magneton_tasks.cli.config import new

    path = ask("Path of the new config, such as volume.yaml", lambda text: Path(text).expanduser())
    new.new(path, input_url=None, output=None, work=None, mip=None, yes=False)
    return MenuVolume.load(path)


def _ask(console: Console, found: list[MenuVolume], last: str | None) -> MenuVolume:
    if found:
        with paged():
            console.print(_table(found))
    else:
        say(console, "No volume config was found. n makes one (magneton config new my.yaml);")
        say(console, "for a volume to try it on:  magneton sample demo")
    paths = [os.path.abspath(v.path) for v in found]
    default = str(paths.index(last) + 1) if last in paths else None

    def check(answer: str) -> MenuVolume | None:
        if answer.lower() == _NEW:
            return None
        if answer.isdecimal():
            if 1 <= int(answer) <= len(found):
                return found[int(answer) - 1]
            raise ValueError(f"there is no number {answer}: 1 to {len(found)}, or the path of one")
        path = Path(answer).expanduser()
        if not path.is_file():
            raise NoInputError(f"there is no file {path}", "give a number or the path of a config")
        return MenuVolume.load(path)

    question = "Number, n for a new one, or path of a volume config" if found else "n, or path"
    return ask(question, check, default) or make(console)


def _table(found: list[MenuVolume]) -> Table:
    table = Table(title="Volume configs", title_justify="left", box=None, pad_edge=False)
    table.add_column("no", justify="right")
    table.add_column("volume", no_wrap=True)
    table.add_column("config", overflow="fold")
    table.add_column("input", overflow="fold")
    for number, volume in enumerate(found, 1):
        wrong = f"WRONG: {(volume.error or '').splitlines()[0]}" if volume.error else ""
        last = Text(wrong, "red") if volume.config is None else Text(volume.config.paths.input)
        table.add_row(str(number), Text(volume.name), Text(str(volume.path)), last)
    return table


def ask_partition(console: Console, volume: MenuVolume, default: str | None) -> str:
    """What ``{partition}`` in the paths stands for."""
    say(console, f"The paths of {volume.path} hold {{partition}}.")

    def check(answer: str) -> str:
        load_config(volume.path, partition=answer)
        return answer

    return ask("partition", check, default)
