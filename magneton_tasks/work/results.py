"""What an attempt's tasks came to: a file each; of a run in many parts one of all, once it is verified.

::

    results/<stage>-<batch>[-<part>].json     a task, or a part of one, each
    results/gathered.json                     {"<stage>-<batch>-<part>": {...}, ...}
    results/verify.json                       says that the run ended, and stays by itself
    at/<threshold>/results/verify.json        says it of one of several thresholds; there's none of all

A task that is done again after that writes a file of its own, which counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.work.paths import AttemptPaths

Data = dict[str, Any]

_GATHERED = "gathered"
#: Looked for by name, by whoever wants to know how the run ended.
_ALONE = ("plan", "verify")


def read(paths: AttemptPaths) -> dict[str, Data]:
    """The results of an attempt's tasks by `task_name`; those that can't be read are left out.

    At one of several thresholds: without those of the others.
    """
    if paths.cut:
        of_all = read(AttemptPaths(paths.root))
        return {task: r for task, r in of_all.items() if _is_of(r, paths.cut)} | _read_all(paths)
    return _read_all(paths)


def _is_of(result: Data, cut: str) -> bool:
    """Whether a result of an attempt is one threshold's, too; ``at``: of a stage at all of them."""
    return "at" not in result and result.get("threshold", cut) == cut


def _read_all(paths: AttemptPaths) -> dict[str, Data]:
    directory = paths.result(_GATHERED).parent
    found = {}
    if _cuts(paths) and (ended := of_verify(paths)) is not None:
        found["verify"] = ended
    for name in files.listdir(directory):
        task, dot, kind = name.partition(".")
        if dot and kind == "json" and task != _GATHERED:
            result = _read(directory / name)
            if result is not None:
                found[task] = result
    # read last: what has gone since it was listed is in there
    return gathered(paths) | found


def of_verify(paths: AttemptPaths) -> Data | None:
    """How a run ended; None: verify has told nothing (yet) that can be read.

    Of several thresholds: how it ended at all of them, once it has at each.
    """
    cuts = _cuts(paths)
    if not cuts:
        return _read(paths.result("verify"))
    found: dict[str, Data] = {}
    for cut in cuts:
        one = _read(paths.at(cut).result("verify"))
        if one is None:
            return None
        found[cut] = one
    return together("verify", found)


def places_of_verify(paths: AttemptPaths) -> list[Path]:
    """Where verify leaves its result, or (several thresholds) its results."""
    return [at.result("verify") for at in map(paths.at, _cuts(paths))] or [paths.result("verify")]


def ended_s(paths: AttemptPaths) -> float | None:
    """When verify told how the run ended, in unix seconds; None: it hasn't, at each threshold."""
    times = [files.modified_s(place) for place in places_of_verify(paths)]
    known = [time_s for time_s in times if time_s is not None]
    return max(known) if len(known) == len(times) else None


def _cuts(paths: AttemptPaths) -> list[str]:
    """The several thresholds of an attempt; none: it has one, or this is one of them."""
    return [] if paths.cut else files.listdir(paths.all_cuts)


def together(stage: str, found: Mapping[str, Data]) -> Data:
    """The result of a stage at all thresholds, of those at each (``found``).

    Numbers of files and of what they hold add up, and so does the time.
    """
    result: Data = {"stage": stage, **_sums(found.values()), **_checked(found.values())}
    result |= {
        "at": dict(found),
        "seconds": round(sum(r.get("seconds", 0) for r in found.values()), 3),
    }
    failures = [
        {**failure, "cause": f"at {name}: {failure['cause']}"}
        for name, one in found.items()
        for failure in one.get("failures", ())
    ]
    return result | ({"failures": failures} if failures else {})


def _sums(found: Iterable[Data]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for result in found:
        for name in ("done", "skipped", "failed", "chunks"):
            if name in result:
                counts[name] = counts.get(name, 0) + int(result[name])
    return counts


def _checked(found: Iterable[Data]) -> Data:
    """How verify found out that the chunks are there (`proof.checked`), if it did so at each."""
    each = [result.get("checked") for result in found]
    told = [one for one in each if one]
    if not told or len(told) < len(each):
        return {}
    how = next((one["how"] for one in told if one["how"] != "all"), "all")
    sums = {name: sum(one[name] for one in told) for name in ("chunks", "read")}
    return {"checked": {"how": how, **sums}}


def is_proved(paths: AttemptPaths) -> bool:
    """Whether verify found nothing wrong with what it was asked for."""
    result = of_verify(paths)
    return result is not None and not result.get("failures")


def gathered(paths: AttemptPaths) -> dict[str, Data]:
    """Those that `gather` has put together."""
    known = _read(paths.result(_GATHERED)) or {}
    return {task: result for task, result in known.items() if isinstance(result, dict)}


def gather(paths: AttemptPaths) -> None:
    """Put the results of an attempt into one file, where its tasks had parts; they have ended.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error; nothing is lost.
    """
    directory = paths.result(_GATHERED).parent
    found = read(paths)
    single = [t for t in found if t not in _ALONE and files.stat_size(directory / f"{t}.json")]
    if not any(task.count("-") == 2 for task in single):
        return  # one per batch is few enough
    kept = {task: found[task] for task in sorted(found) if task not in _ALONE}
    files.write_atomic(paths.result(_GATHERED), json.dumps(kept).encode())
    for task in single:
        (directory / f"{task}.json").unlink(missing_ok=True)


def _read(path: Path) -> Data | None:
    with suppress(OSError, ValueError), files.open_read(path) as file:
        return json_object(file.read())
    return None
