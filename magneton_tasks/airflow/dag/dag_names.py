"""Which DAG belongs to which volume config; standard library and the config room only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from magneton_tasks.config.read import find_configs

PREFIX = "instance_segmentation."
#: Of a DAG id: Airflow takes 250 characters, and a second config of a name adds some.
_LONGEST = 240
_DIGEST = 12


def named_configs(places: str) -> Iterator[tuple[str, Path, Path | None]]:
    """DAG id and path of each config in ``places`` (directories or files, separated by ``:``).

    The third is the config that has taken the name before, where two would make the same DAG.
    """
    taken: dict[str, Path] = {}
    for path in find_configs(places):
        dag_id = _dag_id(path.stem)
        other = taken.get(dag_id)
        if other is not None:
            number = 2
            while f"{dag_id}.{number}" in taken:
                number += 1
            dag_id = f"{dag_id}.{number}"
        taken[dag_id] = path
        yield dag_id, path, other


def _dag_id(stem: str) -> str:
    """Of a config's name; a long one is cut, and a digest of the whole tells it from its like."""
    dag_id = PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", stem)
    if len(dag_id) <= _LONGEST:
        return dag_id
    digest = sha256(os.fsencode(stem)).hexdigest()[:_DIGEST]
    return f"{dag_id[: _LONGEST - _DIGEST - 1]}.{digest}"
