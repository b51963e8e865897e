"""``magneton.json`` beside the output's ``info``: says whose output this is."""

from __future__ import annotations

from typing import Any

from magneton_tasks.base.location import locate
from magneton_tasks.formats.objects import Objects

OWNER_FILE = "magneton.json"


def read_owner(url: str) -> dict[str, Any] | None:
    """Whose output it is; None: nobody's yet.

    Raises
    ------
    BadDataError
        It isn't a JSON object.
    OutputError, TemporaryError
        It can't be read; the connection failed.
    """
    return Objects(locate(url)).get_json(OWNER_FILE)


def write_owner(url: str, owner: dict[str, Any]) -> None:
    """Write it, or replace it."""
    Objects(locate(url)).put_json(OWNER_FILE, owner)
