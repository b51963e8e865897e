"""Paths that come from a form: only those under ``$MAGNETON_ROOTS``.

Symbolic links are followed first, and that again by each worker: what a path led to when the run
was planned needn't be what it leads to now.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from magneton_tasks.base.location import locate
from magneton_tasks.config import field_facts, keys
from magneton_tasks.config.field_facts import InForm
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError

#: Directories, separated by colons, under which a form may name paths.
ROOTS_VARIABLE = "MAGNETON_ROOTS"
#: Config keys that name paths, and that a form may set.
PATH_KEYS = tuple(
    key for key, (place,) in field_facts.of(RunConfig, InForm).items() if place.heading == "Paths"
)


def allowed_roots(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The directories of ``$MAGNETON_ROOTS``; none: no path may come from a form."""
    given = environ.get(ROOTS_VARIABLE, "").split(os.pathsep)
    return tuple(str(Path(root).absolute()) for root in given if root)


def check_roots(config: RunConfig, given: Container[str], roots: Iterable[str]) -> None:
    """Refuse paths that a form has ``given`` (dotted keys) and that lead out of the roots.

    Raises
    ------
    ConfigError
        Names the key, the path, where it leads and the roots.
    """
    roots = tuple(roots)
    real = [Path(root).resolve() for root in roots]
    for key in PATH_KEYS:
        value = keys.value(config, key)
        if key not in given or value is None:
            continue
        path = locate(str(value)).path
        if path is None or not any(path.resolve().is_relative_to(root) for root in real):
            where = "" if path is None or path.resolve() == path else f", which is {path.resolve()}"
            raise ConfigError(
                f"{key} from a form must be a path under ${ROOTS_VARIABLE} ({', '.join(roots) or 'which is not set'}), not {value}{where}",
                "choose a path there, or set it in the volume's YAML file",
            )
