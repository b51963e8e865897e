"""What an attempt cost: CPU time and memory, from its tasks' results, and records where those say less."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.plan.plan import Fingerprints
from magneton_tasks.plan.stage_table import OWN_STAGES, STAGES
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import AttemptPaths, WorkPaths

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time (s) and the highest peak (bytes) of an attempt; when its newest result was written."""

    cpu_s: float | None
    peak_bytes: int | None
    ended: float | None


class Recorded:
    """Records of a work directory, each stage's read once, whichever attempts ask."""

    def __init__(self, work: WorkPaths) -> None:
        self._work = work
        self._read: dict[tuple[str, str], list[KeyState]] = {}

    def own(self, stage: str, fingerprint: str, attempt: str) -> list[KeyState]:
        """Results that an attempt made; ``attempt``: what their lines hold of it."""
        key = stage, fingerprint
        if key not in self._read:
            manifest = Manifest(self._work.records(stage, fingerprint))
            self._read[key] = list(manifest.read().values())
        return [state for state in self._read[key] if state.holds(attempt)]


def of(
    paths: AttemptPaths,
    told: Data,
    tasks: Mapping[str, Data],
    recorded: Recorded,
    share: int,
    *,
    is_over: bool,
) -> Cost:
    """What an attempt cost at its threshold.

    Parameters
    ----------
    told
        Its plan, as any release may have written it, with the fingerprints of this threshold.
    tasks
        The results of its tasks. A task that was killed has left none: then records tell more.
    share
        How many thresholds share the CPU time of the stages that they have in common.
    is_over
        Whether all its tasks have left their results: records needn't be read.
    """
    cpu_s, peaks, ended = dict[str, float](), list[int](), list[float]()
    for name, result in tasks.items():
        stage = str(result.get("stage"))
        if isinstance(result.get("cpu_s"), int | float):
            cpu_s[stage] = cpu_s.get(stage, 0.0) + result["cpu_s"]
        if result.get("peak_bytes"):
            peaks.append(int(result["peak_bytes"]))
        written = files.modified_s(paths.result("x").parent / f"{name}.json")
        ended += [written] if written is not None else []
    if not is_over:
        own = {"run": paths.root.parent.name, "attempt": paths.number}
        text = json.dumps(own, separators=(",", ":"))[1:-1] + ","
        for stage, states in _recorded(told, recorded, text):
            figures = [state.figures for state in states]
            cpu_s[stage] = max(cpu_s.get(stage, 0.0), sum(f.cpu_s or 0.0 for f in figures))
            peaks += [f.peak_bytes for f in figures if f.peak_bytes]
            ended += [state.time for state in states]
    shared = {s: n / share for s, n in cpu_s.items() if s not in OWN_STAGES}
    total = sum((cpu_s | shared).values())
    return Cost(total if cpu_s else None, max(peaks, default=None), max(ended, default=None))


def _recorded(told: Data, recorded: Recorded, own: str) -> list[tuple[str, list[KeyState]]]:
    """What the attempt has done of each stage of which records are left."""
    given = told.get("fingerprints")
    known = {k: v for k, v in given.items() if k in Fingerprints.__slots__} if given else {}
    try:
        prints = Fingerprints(**known)
    except TypeError:  # another release has others
        return []
    each = ((stage, prints.of(stage)) for stage in STAGES[:-1])
    found = [(stage, recorded.own(stage, print_, own)) for stage, print_ in each if print_]
    return [(stage, states) for stage, states in found if states]
