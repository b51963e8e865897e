"""A file of an output, as lists of them have it; standard library only."""

from __future__ import annotations

from typing import NamedTuple

#: The list of an output's files, beside its owner.
LIST_FILE = "magneton-files.parquet"


class Listed(NamedTuple):
    """A file below an output.

    Attributes
    ----------
    name
        Its path below the output, parts joined by ``/``: ``8_8_40/0-64_0-64_0-64.gz``.
    size
        In bytes.
    crc32
        Of all bytes as they are stored; None: records of an earlier release don't tell.
    """

    name: str
    size: int
    crc32: int | None


def is_below(name: str) -> bool:
    """Whether a name stays below the folder that it is joined to, whatever it is."""
    parts = name.split("/")
    return "\0" not in name and all(part not in ("", ".", "..") for part in parts)
