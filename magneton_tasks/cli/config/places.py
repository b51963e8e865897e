"""Where a new config's volumes may lie: what is proposed, and what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from magneton_tasks.base.files import nearest_existing
from magneton_tasks.base.location import PREFIXES, locate
from magneton_tasks.cli.config.answers import Answers
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.container import outermost


def as_url(text: str) -> str:
    """What a person types for a volume, as a URL: a path becomes ``file://`` and absolute."""
    text = re.sub(r"\A((?:\w+://)?)file:/(?!/)", r"\1file:///", text)  # the same place, by RFC 8089
    prefix, separator, rest = text.partition("://")
    if not separator and text.startswith(("gs:", "s3:", "http:", "https:")):
        return text  # refused by whoever opens it
    if separator and "://" in rest:  # a format before the URL
        return f"{prefix}://{rest.rstrip('/')}"
    if separator and prefix not in PREFIXES:
        return text.rstrip("/")
    path = f"file://{Path(rest if separator else text).expanduser().absolute()}"
    return f"{prefix}://{path}" if separator else path


def beside(source: str, config: Path) -> tuple[str, str]:
    """Where proposals lie: beside the input, not inside its file or group; and the input's name.

    Beside the config where nothing can be written to the input's place.
    """
    location = locate(source)
    if location.path is None:
        parent, _, last = location.url.rpartition("/")
        if location.is_read_only:
            parent = f"file://{config.absolute().parent}"
        return parent, _stem(last)
    volume = outermost(location.path)
    parent_path = volume.parent
    if not_writable(parent_path):
        parent_path = config.absolute().parent
    return f"file://{parent_path}", _stem(volume.name)


def _stem(name: str) -> str:
    for suffix in (".zarr", ".ome", ".n5", ".h5", ".hdf", ".hdf5"):
        name = name.removesuffix(suffix)
    return name or "volume"


def free_output(folder: str, name: str) -> str:
    """A name at which nothing lies yet (on this machine)."""
    for n in range(1, 1000):
        url = f"{folder.rstrip('/')}/{name}-segmentation" + ("" if n == 1 else f"-{n}")
        path = locate(url).path
        if path is None or not path.exists():
            return url
    return url


def check_place(values: Mapping[str, object], key: str, value: str) -> None:
    """Neither nested with the other places nor unwritable."""
    from magneton_tasks.stages.planning.checks import check_paths

    # Until work is known it stands for a place that nests with nothing.
    nowhere = {"paths.output": "file:///output", "paths.work": "/magneton-no-such-place/work"}
    config = Answers({**nowhere, **values, key: value}).config("")
    check_paths(config, write=False)
    path = locate(value).path
    if path is not None and (problem := not_writable(path)):
        raise ConfigError(problem, "give a place that you may write to")


def not_writable(path: Path) -> str | None:
    """Why nothing can be written to a path, without trying; None where it can."""
    there = nearest_existing(path)
    if not there.is_dir():
        return f"{path}: {there} is no directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{path}: you may not write to {there}"
    return None
