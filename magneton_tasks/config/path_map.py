"""Paths of a config as they are called where a job runs: ``slurm.path_map``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence

from magneton_tasks.config.read import RunConfig

#: Tells a worker what prefixes of paths are called where it runs: JSON, ``[[there, here], ...]``.
PATH_MAP_VARIABLE = "MAGNETON_PATH_MAP"


def with_mapped_paths(config: RunConfig, environ: Mapping[str, str] = os.environ) -> RunConfig:
    """The config with its paths translated, as the runner that started this process says."""
    pairs = path_map(environ)
    if not pairs:
        return config
    paths = config.paths.model_copy(
        update={
            name: mapped_url(getattr(config.paths, name), pairs)
            for name in ("input", "output", "work")
        }
    )
    mask = config.mask
    if mask.path is not None:
        mask = mask.model_copy(update={"path": mapped_url(mask.path, pairs)})
    return config.model_copy(update={"paths": paths, "mask": mask})


def with_mapped_roots(roots: Iterable[str]) -> list[str]:
    """The directories under which a form could name paths, as they are called here."""
    pairs = path_map()
    return [mapped(root, pairs) for root in roots]


def path_map(environ: Mapping[str, str] = os.environ) -> list[tuple[str, str]]:
    """Prefixes of paths where the run was planned, and what they are called here."""
    text = environ.get(PATH_MAP_VARIABLE)
    return [(there, here) for there, here in json.loads(text)] if text else []


def mapped_url(url: str, pairs: Sequence[tuple[str, str]]) -> str:
    """A path, or a URL of files, with its prefix translated; any other URL as it is."""
    head, separator, path = url.rpartition("://")
    return f"{head}{separator}{mapped(path, pairs)}" if path.startswith("/") else url


def mapped(path: str, path_map: Sequence[tuple[str, str]]) -> str:
    """A path with its longest known prefix replaced."""
    for here, there in sorted(path_map, key=lambda pair: -len(pair[0])):
        if path == here or path.startswith(here.rstrip("/") + "/"):
            rest = path[len(here.rstrip("/")) :]
            return (there.rstrip("/") + rest) or "/"
    return path
