"""Sizes of a new config that fit the volume and this machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import click

from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.units import human_bytes, several
from magneton_tasks.cli.config.answers import Answers, Ask
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.formats.info import VolumeInfo

if TYPE_CHECKING:
    from magneton_tasks.stages.planning.sampling import Samples

#: Why this threshold is proposed: of overlap, and of exact.
_THRESHOLD_WHY = (
    "a start; magneton try and magneton tune show what others make",
    "null: from the map itself, and plan prints it; a number here fixes it",
)


def ask_block(answers: Answers, ask: Ask, info: VolumeInfo, samples: Samples) -> None:
    """Block size (and overlap) that fit this machine, and the threshold."""
    from magneton_tasks.runners import this_machine
    from magneton_tasks.stages.planning.sizes import (
        exact_bound,
        overlap_bound,
        propose_block,
    )

    for warning in samples.warnings:
        click.echo(f"  WARNING: {warning}")
    config, densest = answers.trial(), samples.density.densest
    segment, is_exact = config.segment, config.method == "exact"
    machine, cores = this_machine.memory_bytes(), this_machine.cores()
    bound = (
        exact_bound(densest)
        if is_exact
        else overlap_bound(segment.merge_function, segment.supervoxels, densest)
    )
    proposed = propose_block(
        info.box.shape, info.chunk_size, bound, machine, cores, overlaps=not is_exact
    )
    why = (
        f"made for {cores} cores and {human_bytes(machine)}: a block takes "
        f"{human_bytes(proposed.bound_bytes)} at most, so {proposed.workers} fit beside each other"
    )
    click.echo(f"  {why}")

    def fitting(size: object) -> dict[str, object]:
        return {} if is_exact else {"block.overlap": _overlap(size)}

    answers.ask(
        ask, "block.size", "Block size in voxels, [z, y, x]", list(proposed.size), why, also=fitting
    )
    if not is_exact:
        answers.ask(
            ask,
            "block.overlap",
            "Overlap of blocks in voxels, [z, y, x]",
            _overlap(answers.values["block.size"]),
        )
    answers.ask(
        ask,
        "segment.threshold",
        "Threshold (affinity; lower merges more)",
        None if is_exact else USUAL_THRESHOLD,
        _THRESHOLD_WHY[is_exact],
    )


def _overlap(size: object) -> list[int]:
    """The usual overlap of blocks of a size; TypeError, ValueError: it isn't one."""
    from magneton_tasks.stages.planning.sizes import overlap_of

    return list(overlap_of(vec3(cast("Iterable[int]", size))))


def ask_chunk(answers: Answers, ask: Ask, info: VolumeInfo) -> None:
    """Chunks of the segmentation."""
    from magneton_tasks.stages.planning.sizes import propose_chunk

    chunk, n = propose_chunk(answers.config(), info)
    answers.ask(
        ask,
        "apply.chunk_size",
        "Chunk size of the segmentation, [z, y, x]",
        list(chunk),
        f"makes {several(n, 'file')} in the output, all mips together",
    )
