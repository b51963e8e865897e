"""Which DAG belongs to which volume config; standard library and the config room only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from magneton_tasks.config import find_configs

PREFIX = "instance_segmentation."


def named_configs(places: str) -> Iterator[tuple[str, Path, Path | None]]:
    """DAG id and path of each config in ``places`` (directories or files, separated by ``:``).

    The third is the config that has taken the name before, where two would make the same DAG.
    """
    taken: dict[str, Path] = {}
    for path in find_configs(places):
        dag_id = PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
        other = taken.get(dag_id)
        if other is not None:
            dag_id = next(f"{dag_id}.{n}" for n in range(2, 1000) if f"{dag_id}.{n}" not in taken)
        taken[dag_id] = path
        yield dag_id, path, other
