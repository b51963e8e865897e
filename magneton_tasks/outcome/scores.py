"""Scores of a run's result against a truth, kept beside the run that made it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import MagnetonError
from magneton_tasks.formats.precomputed.owner import read_owner
from magneton_tasks.work import attempts, threshold_of
from magneton_tasks.work.frozen import plan_of
from magneton_tasks.work.paths import AttemptPaths, WorkPaths
from magneton_tasks.work.settled import read as read_settled

Data = dict[str, Any]

#: What is kept of scores: VI in bits.
FIGURES = ("vi", "vi_split", "vi_merge", "arand", "voxels")


def keep(segmentation: str, truth: str, mips: tuple[int, int], found: Mapping[str, Any]) -> bool:
    """Keep scores with the run whose result lies in an output; whether there is such a run.

    A score of before against the same truth and mips goes. Whoever may not write there keeps nothing.

    Parameters
    ----------
    segmentation, truth
        URLs; ``mips``: of each.
    found
        As `trials.evaluation.score` returns them.
    """
    told = {name: found[name] for name in FIGURES} | {
        "truth": truth, "mips": list(mips), "time": time.time()
    }  # fmt: skip
    with suppress(MagnetonError, OSError, KeyError, TypeError):
        paths = _made_by(segmentation)
        if paths is None:
            return False
        others = [
            one for one in of(paths) if (one.get("truth"), one.get("mips")) != (truth, told["mips"])
        ]
        files.write_atomic(paths.scores, json.dumps({"scores": [*others, told]}).encode())
        return True
    return False


def of(paths: AttemptPaths) -> list[Data]:
    """What is kept of an attempt (at its threshold), the newest last."""
    with suppress(OSError, ValueError), files.open_read(paths.scores) as file:
        scores = json_object(file.read()).get("scores", [])
        return [one for one in scores if isinstance(one, dict)]
    return []


def _made_by(url: str) -> AttemptPaths | None:
    """The newest attempt that proved the result in an output; None: nobody knows."""
    owner = read_owner(url)
    if owner is None or not owner.get("finished"):
        return None
    work = WorkPaths(Path(owner["config"]["paths"]["work"]))
    run = owner["finished"]["run"]
    told = owner.get("fingerprint"), owner.get("threshold")
    for found in attempts.newest_first(work, run):
        planned = plan_of(found.paths)
        names = [cut.name for cut in planned.cuts] or [""]
        for name, plan in zip(names, planned.each(), strict=True):
            paths = found.paths.at(name)
            settled = read_settled(paths, 0) if name == "" else None
            prints = plan.fingerprints if settled is None else settled.fingerprints
            if told == (prints.of_output, threshold_of.result(work, plan).settled):
                return paths
    return None
