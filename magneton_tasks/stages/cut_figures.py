"""Figures of the objects that were cut, exact at any threshold, without those that were left out.

Each group tells of the objects that it names, and verify adds them up. What pool reports until then
follows from the merges alone: figures of a level of the curve, and of objects of every size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.kernels.exact.rounds.curve import LISTED, SIZE_CLASSES
from magneton_tasks.kernels.exact.rounds.tables import Int64
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Info, Record

#: What these figures stand under in pool's report.
KEY = "cut"


def of_group(objects: Sequence[tuple[Int64, Int64]]) -> Info:
    """What a record of cut tells of the objects that its group names.

    Parameters
    ----------
    objects
        Their global ids and voxels, block by block.
    """
    none = np.zeros(0, np.int64)
    ids = np.concatenate([none, *(ids for ids, _ in objects)])
    voxels = np.concatenate([none, *(voxels for _, voxels in objects)])
    classes = np.bincount(np.frexp(voxels.astype(np.float64))[1] - 1, minlength=1)
    order = np.lexsort((ids, -voxels))[:LISTED]
    return Info(
        objects=int(ids.size),
        classes=classes.tolist() if ids.size else [],
        largest=np.stack([ids[order], voxels[order]], 1).tolist(),
    )


def of_volume(cuts: Mapping[int, Record], volume_vox: int) -> dict[str, Any]:
    """The same of all groups, by the names that pool's report has for them."""
    joins = objects = foreground = n = 0
    classes = np.zeros(SIZE_CLASSES, np.int64)
    largest: list[tuple[int, int]] = []
    for info in (record.info for record in cuts.values()):
        joins, objects, n = joins + info["joins"], objects + info["objects"], n + info["n"]
        foreground += info["voxels"] - info["left_out"]
        classes[: len(info["classes"])] += np.array(info["classes"], np.int64)
        found = ((-voxels, name) for name, voxels in info["largest"])
        largest = sorted([*largest, *found])[:LISTED]
    most = -largest[0][0] if largest else 0
    used = int(classes.nonzero()[0].max(initial=-1)) + 1
    return {
        "joins": joins,
        "objects": objects,
        "left_out": n - joins - objects,
        "foreground_vox": foreground,
        "largest": [
            {"global_id": name, "voxels": -voxels, "labels": 0, "blocks": 0}
            for voxels, name in largest
        ],
        "largest_of_foreground": most / foreground if foreground else 0.0,
        "largest_of_volume": most / volume_vox,
        "sizes": {"objects": classes[:used].tolist(), "voxels": []},
    }


def report(attempt: Attempt, figures: Mapping[str, Any]) -> None:
    """Add the volume's figures to pool's report."""
    path = attempt.stage_dir("pool") / "report.json"
    with files.open_read(path) as file:
        known = json_object(file.read())
    if known.get(KEY) != figures:
        files.write_atomic(path, json.dumps(known | {KEY: figures}, indent=1).encode())
