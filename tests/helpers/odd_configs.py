"""Configs that can't be read, each of its kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.helpers.plans import MINIMAL

Make = Callable[[Path], None]


def _text(text: str, encoding: str = "utf-8") -> Make:
    return lambda path: _written(path, text.encode(encoding))


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)


#: How the config is made, and words of the reason.
ODD: dict[str, tuple[Make, str]] = {
    "latin-1": (_text(f"# 4 µm\n{MINIMAL}", "latin-1"), "line 1: not UTF-8: byte 0xb5"),
    "utf-16": (_text(MINIMAL, "utf-16"), "written in UTF-16, not UTF-8"),
    "itself": (_text("paths: &p\n  input: *p\n"), "line 1: an alias refers to the value that holds it"),
    "itself in a list": (_text(f"{MINIMAL}box: &b [*b]\n"), "line 5: an alias refers to"),
    "aliases": (
        _text("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
        )),
        "holds more than 100,000 values",
    ),
    "deep": (_text("a: " + "[" * 100_000 + "]" * 100_000), "more than 50 deep"),
    "digits": (_text(f"{MINIMAL}input: {{mip: {'9' * 5000}}}\n"), "line 5, column 14: 999999999999999999999999999999... (5,000 characters) can't be read as int"),
    "a date that isn't": (_text(f"{MINIMAL}schedule: 2024-13-45\n"), "line 5, column 11: 2024-13-45 can't be read as timestamp: month must be in 1..12"),
    "a tag that isn't": (_text(f"{MINIMAL}schedule: !!bool 7\n"), "line 5, column 11: 7 can't be read as bool"),
    "a link to nothing": (lambda path: path.symlink_to("/no/such/file.yaml"), "is a link to /no/such/file.yaml, which isn't there"),
    "a link to itself": (lambda path: path.symlink_to(path), "is a link to"),
    "a pipe": (lambda path: os.mkfifo(path), "it is a pipe"),
    "a directory": (lambda path: path.mkdir(), "it is a directory"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "large": (lambda path: _written(path, b"#" * (1 << 20) + b"\n"), "more than 1 MiB"),
}  # fmt: skip

#: Those of which each command, DAG and page is asked.
TYPICAL = ("latin-1", "utf-16", "itself", "digits", "a link to nothing", "a pipe")
