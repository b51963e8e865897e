"""Changes values in a config file; its comments, order and layout stay (`edit_text`)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ruamel.yaml.error import YAMLError

from magneton_tasks.base.files import write_atomic
from magneton_tasks.config import config_file, edit_text, keys, renamed
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.read import parse_config
from magneton_tasks.config.template import plain
from magneton_tasks.config.unread import unread_keys
from magneton_tasks.errors import ConfigError, OutputError


def set_values(path: Path, values: Mapping[str, object]) -> None:
    """Set values by dotted key in a config file; nothing is written where one is wrong.

    A choice (``method``, ``pool.rule``, ``segment.supervoxels``) takes the keys and sections that
    it doesn't read out of the file, as an override does: they become comments, or go where they
    stand in braces.

    Parameters
    ----------
    path
        The config. Of a symbolic link the target is written. Permissions stay.
    values
        New values by dotted key, in order.

    Raises
    ------
    NoInputError
        There is no such file, or it may not be read.
    ConfigError
        The config, or the config with these values is wrong, or the file is written in a way that can't be
        changed safely.
    OutputError
        It can't be written.
    """
    replace(path, with_values(config_file.read_text(path), str(path), values))


def with_values(text: str, name: str, values: Mapping[str, object]) -> str:
    """The text of a config with values set; read back and compared before it is returned.

    Raises
    ------
    ConfigError
        As `set_values`; ``name`` stands for the file.
    """
    values = renamed.given(values, name)
    wanted = parse_config(text, name, values)
    new = text
    try:
        for old, now in _renamed_here(text, name, values):
            new = edit_text.rename(new, _place(old), _place(now))
        for key, value in values.items():
            new = edit_text.set_value(new, _place(key), plain(value))
            for unread in unread_keys(RunConfig, key, value):
                new = edit_text.drop(new, _place(unread))
        why = "" if _reads_back(new, wanted) else "another value would be read back"
    except (edit_text.UnsupportedLayoutError, YAMLError) as error:
        why = str(error)
    if why:
        raise ConfigError(
            f"{name}: can't set {', '.join(values)} in a file written this way: {why}",
            f"change it in an editor: magneton config edit {name} --editor",
        )
    return new


def _renamed_here(text: str, name: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Old and present names of what the file has under an old one and these values change."""
    touched = {
        *values,
        *(u for key, value in values.items() for u in unread_keys(RunConfig, key, value)),
    }
    node = config_file.compose(text, name)
    data = {} if node is None else config_file.construct(node, name)
    for old, now in renamed.RENAMED.items():
        if keys.has(data, old) and any(keys.is_in(now, t) or keys.is_in(t, now) for t in touched):
            yield old, now


def _reads_back(text: str, wanted: RunConfig) -> bool:
    try:
        return parse_config(text, "") == wanted
    except ConfigError:
        return False


def replace(path: Path, text: str) -> None:
    """Replace a config's text in one step; permissions stay, of a link the target is written.

    Raises
    ------
    OutputError
        No right to write, disk full.
    """
    target = path.resolve()
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    if mode is not None and not os.access(target, os.W_OK):
        raise OutputError(f"{target} is write-protected", f"chmod u+w {target}, or save a copy")
    write_atomic(target, text.encode("utf-8"), mode=mode)


def _place(key: str) -> tuple[str, ...]:
    return tuple(key.split("."))
