"""Keys and sections that were called otherwise: an old name is read, with a note.

A renamed key gets a line in `RENAMED`, and the id in its field's `Decides` stays, so results
do too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import TypeVar

from magneton_tasks.config import keys
from magneton_tasks.errors import ConfigError

#: Old dotted name -> the present one.
RENAMED: dict[str, str] = {}

V = TypeVar("V")
_log = logging.getLogger(__name__)


def name_of(key: str) -> str:
    """What a key is called now."""
    for old, new in RENAMED.items():
        if keys.is_in(key, old):
            return new + key.removeprefix(old)
    return key


def of(values: Mapping[str, V]) -> dict[str, V]:
    """Values by dotted key, by the present names; of what was written before, so without a note."""
    return {name_of(key): value for key, value in values.items()}


def given(values: Mapping[str, V], where: str) -> dict[str, V]:
    """Values by dotted key that somebody gave (``--set``, a form), by the present names.

    Raises
    ------
    ConfigError
        Old and new name of one key are both given.
    """
    found: dict[str, V] = {}
    for key, value in values.items():
        now = name_of(key)
        if now != key:
            if now in values:
                raise _both(where, key, now)
            _note(where, key, now)
        found[now] = value
    return found


def rename(
    data: MutableMapping[str, object], lines: Mapping[str, int], name: str
) -> dict[str, str]:
    """Put what stands in a file under old names under the present ones, in place.

    Parameters
    ----------
    lines
        Of each dotted key of the file, from 1.
    name
        Stands for the file in notes and messages.

    Returns
    -------
    dict
        The old names that the file uses, and the present ones.

    Raises
    ------
    ConfigError
        Old and new name of one key are both there.
    """
    found = {old: new for old, new in RENAMED.items() if keys.has(data, old)}
    for old, new in found.items():
        where = f"{name}, line {lines[old]}" if old in lines else name
        if keys.has(data, new):
            raise _both(where, old, new)
        value = keys.get(data, old)
        keys.drop(data, old)
        keys.put(data, new, value)
        _note(where, old, new)
    return found


def _both(where: str, old: str, new: str) -> ConfigError:
    return ConfigError(
        f"{where}: {old} is called {new} now, and both are there",
        f"remove {old}, whose value doesn't count then",
    )


@cache
def _note(where: str, old: str, new: str) -> None:
    """Once in a process, however often it is read."""
    _log.warning("%s: %s is called %s now; the old name is still read", where, old, new)
