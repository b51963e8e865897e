"""What the methods of `magneton.open` return: plain values, and tables for what has rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import ranges_len
from magneton_tasks.outcome.status import Status
from magneton_tasks.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run would do.

    Attributes
    ----------
    shape
        Of what is segmented, voxels z, y, x.
    blocks
        Along z, y, x.
    threshold, threshold_is_guess
        What would be segmented with; None: what the map asks for. Whether samples of the map say
        so, of which the run looks at all.
    stages
        A row per stage: ``stage``, ``total`` (blocks or cells), ``todo``, ``batches``, ``cpu_s``,
        ``memory_bytes`` (a worker takes at most this).
    expected_s
        Wall time.
    files, output_bytes
        Of the output.
    replaces
        URL of an output of other settings that the run would write over; None: it wouldn't.
    notes
        Warnings.
    """

    shape: Vec3
    blocks: Vec3
    threshold: float | None
    threshold_is_guess: bool
    stages: pa.Table = field(repr=False)
    expected_s: float
    files: int
    output_bytes: int
    replaces: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeStatus:
    """How far the newest run of a volume is.

    Attributes
    ----------
    is_done
        Complete, proved by verify, and made with the config as it is now.
    is_running
        Something works on it.
    threshold
        That of the result; None while only samples tell it.
    stages
        A row per stage: ``stage``, ``total``, how many are ``done``, ``empty``, ``failed``,
        ``running``, ``missing``, ``stale``, ``corrupt``; ``cpu_s`` and ``peak_bytes``.
    failures
        What failed, each with ``stage``, ``what`` and ``hint``.
    data
        All that ``magneton status --json`` prints.
    """

    run: str
    attempt: int
    is_done: bool
    is_running: bool
    threshold: float | None
    stages: pa.Table = field(repr=False)
    failures: tuple[Mapping[str, Any], ...]
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scores:
    """Of a segmentation against a truth; VI in bits, over voxels that the truth labels."""

    vi: float
    vi_split: float
    vi_merge: float
    arand: float
    voxels: int
    notes: tuple[str, ...] = ()


def planned(plan: Plan) -> Planned:
    """What people want to know of a plan."""
    rows = [
        {
            "stage": stage,
            "total": work.total,
            "todo": ranges_len(work.todo),
            "batches": work.batches,
            "cpu_s": float(work.cpu_s),
            "memory_bytes": plan.memory[stage].bound if stage in plan.memory else None,
        }
        for stage, work in plan.work.items()
        if work.total
    ]
    return Planned(
        plan.geometry.box.shape,
        plan.geometry.grid.shape,
        plan.threshold.value,
        plan.threshold.is_guess,
        pa.Table.from_pylist(rows),
        plan.expected_s,
        plan.files,
        plan.output_bytes,
        plan.replaces.output if plan.replaces else None,
        (*plan.threshold.warnings, *plan.notes),
    )


_COUNTS = ("done", "empty", "failed", "running", "missing", "stale", "corrupt")


def status_of(status: Status) -> VolumeStatus:
    """What people want to know of a status."""
    data = status.data()
    names = ("total", *_COUNTS, "cpu_s", "peak_bytes")
    rows = [
        {"stage": one.name, **{name: stage[name] for name in names}}
        for one, stage in zip(status.stages, data["stages"], strict=True)
    ]
    proofs = [one.summary.counts["done"] == 1 for one in status.stages if one.stage == "verify"]
    return VolumeStatus(
        data["run"],
        data["attempt"],
        all(proofs),
        bool(data["alive"]),
        status.first.shown.threshold.settled,
        pa.Table.from_pylist(rows),
        tuple(failure for stage in data["stages"] for failure in stage["failures"]),
        data,
    )
