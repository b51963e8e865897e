"""Block sizes of the menu tool's configs, and what of them fits this machine."""

from __future__ import annotations

from math import prod
from typing import Any

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.units import human_bytes, several
from magneton_tasks.config.menu_tool.old_translation import Translation
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.plan import cost_overlap
from magneton_tasks.runners import resources, this_machine
from magneton_tasks.stages.planning.sizes import (
    exact_bound,
    overlap_bound,
    overlap_of,
    propose_block,
)

#: Stands for a volume that can't be read from here.
_UNKNOWN_SHAPE: Vec3 = (1 << 20, 1 << 20, 1 << 20)
_UNKNOWN_CHUNK: Vec3 = (64, 64, 64)


def fit_block(to: Translation, info: VolumeInfo | None) -> None:
    """Say what a block of the old size takes; where that doesn't fit, take one that does."""
    size: Any = to.values.get("block.size")
    overlap: Any = to.values.get("block.overlap")
    function = str(to.values.get("segment.merge_function", "aff50_his256"))
    seeds = str(to.values.get("segment.supervoxels", "3d"))
    machine, typical = this_machine.memory_bytes(), cost_overlap.TYPICAL_DENSITY
    given: Any = to.values.get("local.workers")
    wanted = given if isinstance(given, int) and given > 0 else this_machine.cores()
    fitting = propose_block(
        info.box.shape if info else _UNKNOWN_SHAPE,
        info.chunk_size if info else _UNKNOWN_CHUNK,
        overlap_bound(function, seeds, typical),
        machine,
        wanted,
    )
    if size is None or min(size) < 1:
        to.add(
            "block.size",
            list(fitting.size),
            f"fits {human_bytes(machine)} for {several(fitting.workers, 'worker')}",
        )
        to.add("block.overlap", list(overlap_of(fitting.size)), "fits that size")
        return
    voxels = prod(size)
    if info is not None:
        voxels = prod(min(a, b) for a, b in zip(size, info.box.shape, strict=True))
    expected = cost_overlap.segment_expected_bytes(voxels, function, seeds, *typical)
    bound = cost_overlap.segment_bound_bytes(voxels, function, seeds, typical)
    takes = f"a block of {_by(size)} with {function} takes about {human_bytes(expected)}, {human_bytes(bound)} at most"
    fits = int(machine * resources.USABLE) // bound
    if fits >= 1 and prod(size) < 2**31:
        _replace(to, "block.size", size, takes)
        if isinstance(given, int) and given > fits:
            to.add(
                "local.workers",
                fits,
                f"{takes}: no more than {fits} fit into {human_bytes(machine)}",
            )
        _repair_overlap(to, vec3(size), overlap)
        return
    smaller = vec3(min(a, b) for a, b in zip(size, fitting.size, strict=True))
    why = f"was {_by(size)}: {takes}, and this machine has {human_bytes(machine)}; proposed is what fits {several(fitting.workers, 'worker')}"
    to.warnings.append(
        f"{takes}, and this machine has {human_bytes(machine)}: block.size is now {list(smaller)}"
    )
    exact = exact_bound(None)(voxels)
    if exact < bound // 2:
        to.warnings.append(
            f"method: exact (mean affinity; block borders leave no trace) would take {human_bytes(exact)} "
            f"at most for a block of {_by(size)}: magneton config new makes such a config, magneton tune "
            "compares both with a truth"
        )
    _replace(to, "block.size", list(smaller), why)
    if isinstance(given, int) and given > fitting.workers:
        _replace(to, "local.workers", fitting.workers, f"was {given}: no more fit")
    narrow = vec3(
        min(a, b) for a, b in zip(overlap or (32, 32, 32), overlap_of(smaller), strict=True)
    )
    _replace(
        to,
        "block.overlap",
        list(narrow),
        f"was {overlap}: fits the smaller block" if overlap else "fits the block",
    )


def _repair_overlap(to: Translation, size: Vec3, overlap: Any) -> None:
    """An overlap of half the block or more isn't possible here."""
    if overlap is None:
        to.add("block.overlap", list(overlap_of(size)), "fits the block size")
    elif any(2 * o >= s for o, s in zip(overlap, size, strict=True)):
        most = [min(o, (s - 1) // 2) for o, s in zip(overlap, size, strict=True)]
        _replace(to, "block.overlap", most, f"was {overlap}: half the block or more")


def _replace(to: Translation, key: str, value: object, why: str) -> None:
    """Set another value than the translated one, in the row of the old key where it has one."""
    for n, row in to.rows.items():
        if row.text.startswith(f"{key}: "):
            to.set(n, key, value, why)
            return
    to.add(key, value, why)


def _by(size: Any) -> str:
    return " x ".join(map(str, size))
