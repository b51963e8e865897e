"""`magneton.segment` against waterz on pub128, in one run: CPU seconds, peak memory and VI.

Both get the same array in memory, each in a child of its own, in turn; of `REPEATS` the fastest
counts, so that both had the machine at its best. Loading libraries and compiled code isn't counted.
waterz is given float32, which is what it takes, at the threshold of a sweep that scores best against
the truth; magneton takes the threshold that the map asks for, without the truth. Left out where the
shared data isn't there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import magneton
from benchmarks import waterz_alone
from benchmarks.measure import Row, forked, row
from benchmarks.volumes import real
from magneton_tasks.kernels.evaluate import ContingencyTable

REPEATS = 3
#: the usual ones of both
LOW, HIGH = 0.0001, 0.9999
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Labels = NDArray[Any]


def run(*, full: bool = False) -> list[Row]:
    """Measure; ``full`` also waterz's median by histograms."""
    arrays = real("pub128")
    if arrays is None:
        return [row("pub128: no shared data here, left out", "-", "")]
    affinities, truth = arrays["affs"], arrays["labels"]
    magneton.segment(affinities[:, :8, :8, :8], 0.5)  # loads compiled code
    ours = _measured(lambda: magneton.segment(affinities, 0.3), truth)
    _, tree = magneton.segment(affinities, return_tree=True)
    own = _vi(magneton.cut(tree, tree.threshold), truth)
    rows = _rows("magneton.segment, pub128, threshold 0.3", ours)
    rows.append(row(f"  at the map's own threshold, {tree.threshold:g}", own, "VI, bits"))
    as_float = np.divide(affinities, np.float32(255), dtype=np.float32)
    for function in ("mean", "aff50_his256") if full else ("mean",):
        best, threshold = min((_waterz_vi(as_float, t, function, truth), t) for t in THRESHOLDS)
        theirs = _measured(lambda t=threshold, f=function: _waterz(as_float, t, f), truth)  # type: ignore[misc]
        assert theirs["vi"] == best, (theirs, best)
        rows += _rows(f"waterz, {function}, affinity {threshold:g} (best of nine)", theirs)
        speed, peak = (ours[key] / theirs[key] for key in ("cpu_s", "bytes"))
        rows.append(row(f"  magneton's CPU time / waterz's, {function}", speed, "x", most=1.0))
        rows.append(row(f"  magneton's peak / waterz's, {function}", peak, "x", most=1.0))
    return rows


def _rows(title: str, found: dict[str, float]) -> list[Row]:
    return [
        row(title, found["cpu_s"], "CPU s"),
        row("  peak above the array", found["bytes"], "bytes/voxel"),
        row("  VI", found["vi"], "bits"),
    ]


def _measured(work: Callable[[], Labels], truth: Labels) -> dict[str, float]:
    """CPU seconds, bytes per voxel above what was there before, and the score."""

    def in_child() -> dict[str, float]:
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")  # from here on
        before, began = _status("VmRSS"), time.process_time()
        labels = work()
        cpu_s = time.process_time() - began
        taken = _status("VmHWM") - before
        return {"cpu_s": cpu_s, "bytes": taken / truth.size, "vi": _vi(labels, truth)}

    found: list[dict[str, float]] = [forked(in_child)[0] for _ in range(REPEATS)]
    return min(found, key=lambda f: f["cpu_s"])


def _status(name: str) -> int:
    """Memory of this process, in bytes."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def _vi(labels: Labels, truth: Labels) -> float:
    table = ContingencyTable()
    table.add(labels, truth)
    return table.scores().vi


def _waterz_vi(affinities: Labels, threshold: float, function: str, truth: Labels) -> float:
    found: float = forked(lambda: _vi(_waterz(affinities, threshold, function), truth))[0]
    return found


def _waterz(affinities: Labels, threshold: float, function: str) -> Labels:
    return waterz_alone.segmented(affinities, threshold, (LOW, HIGH), function)
