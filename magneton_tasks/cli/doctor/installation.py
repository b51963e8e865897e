"""Python, the extras and compiled code."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.base.checkup import Check, Finding, odd, ok, wrong
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import EXIT_CONFIG
from magneton_tasks.kernels.compiled import archives
from magneton_tasks.runners.registry import Kind, is_offered

#: As pyproject.toml demands it.
LEAST_PYTHON = (3, 11)
#: Extras that people install to do something; what they do.
EXTRAS = {
    "compute": "segment blocks",
    "mesh": "make meshes and skeletons",
    "view": "look at volumes: try, tune, view",
    "docker": "run in containers without Airflow",
    "airflow": "run with Airflow",
}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+).*extra == ['\"](\w+)['\"]")


def checks(config: RunConfig | None) -> list[Check]:
    """The table."""
    return [
        Check("Python", python),
        Check("extras", lambda: extras(config)),
        Check("compiled code", compiled),
    ]


def python() -> Iterator[Finding]:
    """Its version."""
    told = f"{platform.python_version()}, {sys.executable}; Magneton {__version__}"
    if sys.version_info < LEAST_PYTHON or sys.maxsize < 2**32:
        least = ".".join(map(str, LEAST_PYTHON))
        yield wrong(told, f"use a Python of 64 bits, {least} or later", EXIT_CONFIG)
    else:
        yield ok(told)


def extras(config: RunConfig | None) -> Iterator[Finding]:
    """Which are here in full, in part or not at all."""
    needed = _needed(config)
    whole, absent = [], []
    for extra, packages in packages_of_extras().items():
        missing = [name for name in packages if not _is_installed(name)]
        if not missing:
            whole.append(extra)
        elif extra in needed or len(missing) < len(packages) / 2:
            what = f"[{extra}], to {EXTRAS[extra]}: {', '.join(missing)} missing"
            yield wrong(what, f"pip install 'magneton[{extra}]'", EXIT_CONFIG)
        else:
            absent.append(f"[{extra}] to {EXTRAS[extra]}")
    told = ", ".join(f"[{extra}]" for extra in whole) or "none"
    yield ok(f"{told}; not here: {', '.join(absent)}" if absent else told)


def packages_of_extras() -> dict[str, list[str]]:
    """The packages of each of `EXTRAS`, by what this installation says of itself."""
    found: dict[str, list[str]] = {extra: [] for extra in EXTRAS}
    for text in metadata.requires("magneton") or ():
        match = _REQUIREMENT.match(text)
        if match and match[2] in found:
            found[match[2]].append(match[1])
    return found


def _needed(config: RunConfig | None) -> set[str]:
    """What a run of the config can't do without here."""
    if config is None:
        return set()
    if not is_offered(config, Kind.PROCESSES):
        return set()
    makes_objects = config.mesh is not None or config.skeleton is not None
    return {"compute", "mesh"} if makes_objects else {"compute"}


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def compiled() -> Iterator[Finding]:
    """Whether kernels are compiled for this CPU."""
    root = Path(archives.root())
    if archives.is_warm():
        yield ok(f"for this CPU, in {root}")
    else:
        yield odd(
            f"none for this CPU in {root}: the first run compiles, {archives.COMPILE_S} CPU seconds",
            "magneton warm, once for each kind of CPU",
        )
    if not os.access(files.nearest_existing(root), os.W_OK | os.X_OK):
        yield odd(
            f"{root} can't be written: each process would compile for itself",
            "set MAGNETON_KERNEL_CACHE to a directory that only you, or your administrators, write to",
        )
