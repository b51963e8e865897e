"""``magneton config edit`` and ``set``: change a config file; its comments stay."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from magneton_tasks.cli.config import parameter_dialog
from magneton_tasks.cli.config import parameters as params
from magneton_tasks.cli.console import Quit, ask, confirm, require_terminal, say
from magneton_tasks.config import config_file
from magneton_tasks.config import edit as edit_config
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import ConfigError, UsageError


def edit(config: Path, *, editor: bool) -> None:
    """Change a config with a person: the numbered table, or with ``editor`` the person's editor.

    Raises
    ------
    UsageError
        No terminal; no editor.
    Quit
        The person left; nothing was changed.
    NoInputError, ConfigError, OutputError
        The file can't be read; is wrong as it is (the table only); can't be written.
    """
    require_terminal(
        f"set values with `magneton config set {config} KEY=VALUE`, for one run with --set, or change "
        f"the file and check it with `magneton config check {config}`"
    )
    if editor:
        _edit_text(config)
    else:
        _edit_values(config)


def set_keys(config: Path, texts: Mapping[str, str]) -> None:
    """``magneton config set``: values by dotted key, written as in the YAML file; says what changed.

    Raises
    ------
    NoInputError, ConfigError, OutputError
        The file can't be read, a value is wrong, the file can't be written: nothing is changed.
    """
    values = params.all_changed(config, {}, texts)
    _save(config, config_file.read_text(config), values)


# ---------------------------------------------------------------------------- by table


def _edit_values(config: Path) -> None:
    text = config_file.read_text(config)
    try:
        before = params.parameters(config, {})
    except ConfigError as error:
        raise ConfigError(error.what, f"fix it: magneton config edit {config} --editor") from None
    overrides = parameter_dialog.edit_table(config, {}, None)
    lines = params.differences(before, params.parameters(config, overrides))
    console = Console()
    if not lines:
        say(console, "nothing was changed")
        return
    for line in lines:
        say(console, f"  {line}")
    if not confirm(f"save to {config}?", default=True):
        say(console, "not saved")
    elif (now := config_file.read_text(config)) == text or _confirm_over_change(
        config, now, overrides
    ):
        _save(config, now, overrides, quiet=True)


def _confirm_over_change(config: Path, now: str, overrides: Mapping[str, object]) -> bool:
    """Somebody else saved meanwhile: theirs stays, these values go over it."""
    console = Console()
    say(console, f"{config} was changed by somebody else meanwhile", "yellow")
    before = params.parameters_of(now, str(config), {})
    for line in params.differences(before, params.parameters_of(now, str(config), overrides)):
        say(console, f"  {line}")
    return confirm("set these values in the file as it is now?")


def _save(config: Path, text: str, values: Mapping[str, object], *, quiet: bool = False) -> None:
    """Write ``values`` into the config, whose text is ``text``, and say so."""
    new = edit_config.with_values(text, str(config), values)
    console = Console()
    if new == text:
        say(console, f"{config}: nothing to change")
        return
    edit_config.replace(config, new)
    for line in () if quiet else _changes(config, text, new, values):
        say(console, line)
    say(console, f"saved {config}")


def _changes(config: Path, text: str, new: str, values: Mapping[str, object]) -> list[str]:
    after = params.parameters_of(new, str(config), {})
    try:
        before = params.parameters_of(text, str(config), {})
    except ConfigError:  # these values mended it: what it was before has no meaning
        return [f"{p.key}: {params.shown(p.key, p.value)}" for p in after if p.key in values]
    return params.differences(before, after)


# ---------------------------------------------------------------------------- by editor


def _edit_text(config: Path) -> None:
    command = _editor()
    before = config_file.read_text(config)
    with tempfile.TemporaryDirectory(prefix="magneton-edit-") as directory:
        copy = Path(directory, config.name)
        copy.write_bytes(before.encode("utf-8"))
        text = _edited(command, copy, config)
        console = Console()
        if text == before:
            say(console, "nothing was changed")
            say(
                console,
                "(an editor with a window of its own must wait: EDITOR='code --wait')",
                "dim",
            )
            return
        if config_file.read_text(config) != before:
            say(console, f"{config} was changed by somebody else meanwhile", "yellow")
            if not confirm("replace it with yours? (n keeps theirs, and saves yours beside it)"):
                beside = _free_name(config)
                edit_config.replace(beside, text)
                say(console, f"your version is {beside}; {config} keeps theirs")
                return
        edit_config.replace(config, text)
        say(console, f"saved {config}")


def _editor() -> list[str]:
    """The person's editor as an argument list; ``$VISUAL`` comes first."""
    for name in ("VISUAL", "EDITOR"):
        if words := shlex.split(os.environ.get(name, "")):
            if shutil.which(words[0]) is None:
                raise UsageError(f"${name} names {words[0]}, which isn't here", f"set {name} again")
            return words
    for name in ("nano", "vi"):
        if shutil.which(name):
            return [name]
    raise UsageError("no editor is known", "set EDITOR, such as: export EDITOR=nano")


def _edited(command: list[str], copy: Path, config: Path) -> str:
    """The text as the person left it in the editor, once it is a valid config."""
    while True:
        with _ctrl_c_for_child():
            try:
                code = subprocess.run([*command, str(copy)], check=False).returncode
            except OSError as error:
                raise UsageError(
                    f"can't start {command[0]}: {error.strerror}", "set EDITOR again"
                ) from None
        if code:
            say(Console(), f"{command[0]} ended with {code}", "yellow")
            raise Quit
        try:
            text = config_file.read_text(copy)
            parse_config(text, str(config))
        except ConfigError as error:
            # The line is that of the text in the editor; the name is the one that people know.
            say(Console(), str(error).replace(str(copy), str(config)), "red")
            ask("Enter: edit again, q: discard", str, "edit")
        else:
            return text


@contextmanager
def _ctrl_c_for_child() -> Iterator[None]:
    """Ctrl-C belongs to the editor; a handler isn't inherited by it, as ignoring would be."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _free_name(config: Path) -> Path:
    number = 1
    while (path := config.with_name(f"{config.name}.edited-{number}")).exists():
        number += 1
    return path
