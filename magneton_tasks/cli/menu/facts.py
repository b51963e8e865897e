"""What this installation is: versions, where configs lie, which runners there are."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from magneton_tasks import __version__
from magneton_tasks.base.units import human_bytes
from magneton_tasks.config.places import CONFIGS_VARIABLE, menu_places

_LIBRARIES = ("numpy", "waterz", "zarr", "cloud-volume", "pyarrow", "neuroglancer")


def facts(here: Path, environ: Mapping[str, str] = os.environ) -> Iterator[tuple[str, str]]:
    """Lines of the first screen: a name and what stands behind it."""
    yield "version", f"Magneton {__version__}, Python {platform.python_version()}"
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    places = menu_places(here, environ)
    yield "configs", ", ".join([*map(str, places), "and *.yaml of the current directory"])
    if not environ.get(CONFIGS_VARIABLE):
        yield "", f"({CONFIGS_VARIABLE} names other directories)"
    yield from _runners()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _runners() -> Iterator[tuple[str, str]]:
    # weight: the menu shows its first line before this
    from magneton_tasks.runners import this_machine
    from magneton_tasks.runners.registry import RUNNERS

    cores, memory = this_machine.cores(), this_machine.memory_bytes()
    yield "runners", f"local: {cores} cores, {human_bytes(memory)} of memory"
    for runner in RUNNERS.values():
        if runner.program is not None:
            there = "" if shutil.which(runner.program) else "not "
            yield "", f"{runner.title}: {runner.program} is {there}on the PATH"
