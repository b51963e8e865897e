"""Stage pool of the exact method: check that every block, face and round is there, fix the cut, add up.

It writes no names: `stages.cut` follows those, group by group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.methods import FIRST_BLOCK
from magneton_tasks.base.units import several
from magneton_tasks.errors import EXIT_OK, NotVisibleError
from magneton_tasks.kernels.exact.map_threshold import LEVELS, ThresholdSums
from magneton_tasks.kernels.exact.rounds.curve import Curve, sums_of_contacts
from magneton_tasks.kernels.exact.rounds.curve_rows import CurveRows, at_level, of_rows
from magneton_tasks.kernels.exact.rounds.places import PartSums, PlaceRows, Places
from magneton_tasks.kernels.pool_report import LargeObject, PoolReport, SizeHistogram
from magneton_tasks.plan.fingerprints import lowest_threshold
from magneton_tasks.stages import completeness, pooling
from magneton_tasks.stages.loop import explain, failure_of, say
from magneton_tasks.stages.planning import thresholds
from magneton_tasks.stages.pooling import Pooled, Pooling
from magneton_tasks.stages.round import NAMES
from magneton_tasks.stages.segment_exact import SUPERVOXELS
from magneton_tasks.stages.settling import settle
from magneton_tasks.stages.slicing import SliceReader
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Failed, Note, tell
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info
from magneton_tasks.work.states import VolumeStates
from magneton_tasks.work.validity import pool_output


def run(job: Job) -> int:
    """Pool the volume; returns the exit code."""
    attempt = job.attempt

    @cache
    def rounds() -> VolumeStates:
        return VolumeStates(attempt, alive=True)

    def made_of() -> str:
        found = rounds().pool_expected
        if found is None:
            raise NotVisibleError(
                "the rounds aren't complete",
                "rerun (in Airflow: clear the task plan): what is missing is made again",
            )
        return found

    def make(digest: str) -> Pooled:
        chain = rounds().chain
        return _pool(attempt, completeness.require(attempt, chain), chain.before, digest)

    told = "blocks and rounds are those of the last time"
    return pooling.run(job, Pooling(made_of, make, told), _settled)


def _settled(attempt: Attempt, result: pooling.Result) -> int:
    """Settle an output that plan couldn't know, the pool being done; the exit code."""
    if not attempt.was_open:
        return EXIT_OK
    try:
        settle(attempt)
        return EXIT_OK
    except Exception as caught:
        error = explain(caught)
    tell(Failed.of("pool", error))
    result |= {"failed": 1, "failures": [{"key": 0, **failure_of(error)}]}
    return error.exit_code


def _pool(attempt: Attempt, found: completeness.Records, plan: str, digest: str) -> Pooled:
    """Write the report, and take the threshold: the plan's, or the map's.

    Parameters
    ----------
    plan
        Digest of the last round's.
    digest
        Of what the pool is made of.
    """
    curve, parts = _added_up(attempt, found)
    chosen = attempt.plan.threshold
    if chosen.source == "map":
        chosen = thresholds.of_pool(attempt, curve.rule, lowest_threshold(attempt.config), parts)
        for warning in chosen.warnings:
            tell(Note(f"pool{attempt.named}: WARNING: {warning}", "warning"))
    report = report_of(attempt, curve, chosen.number, found)
    _write(attempt, report, curve, chosen.number)
    told = Info(objects=report.objects, labels=report.labels, joins=report.joins)
    # the levels around the threshold
    merged = [report.labels - n for n in objects_around(curve, chosen.number)]
    info, output = told | Info(merged=merged, plan=plan), None
    if chosen.source == "map":
        info["threshold"], output = asdict(chosen), pool_output(digest, chosen.number)
    return Pooled(info, {**told}, output)


def objects_around(curve: Curve, threshold: float) -> tuple[int, int]:
    """Objects at the next levels above and below a threshold, or twice those of its own level."""
    objects = [*curve.objects().tolist(), int(curve.size_classes()[-1].sum())]
    below = at_level(threshold)
    if LEVELS[below] == threshold:
        return objects[below], objects[below]
    if LEVELS[below] > threshold:
        return objects[below], 0
    return objects[below + 1], objects[below]


def _added_up(
    attempt: Attempt, found: completeness.Records
) -> tuple[Curve, Sequence[ThresholdSums]]:
    """What blocks, faces and groups add, over the volume and over each of its parts."""
    total, parts = Curve.nothing(), PartSums(Places.of(attempt.plan.geometry.grid))
    for block, curve in _of_blocks(attempt, found):
        total += curve
        parts.add_block(block, curve.rule)
    for number, groups in enumerate(found.rounds):
        stage = f"round{number}"
        reader = SliceReader(attempt, stage, groups, attempt.stage_dir(stage))
        for key in groups:
            rows, of_parts = reader.read(NAMES, (CurveRows, PlaceRows), [key])
            total += of_rows(rows)
            parts.add_rows(of_parts)
    return total, parts.sums()


def _of_blocks(attempt: Attempt, found: completeness.Records) -> Iterator[tuple[int, Curve]]:
    """What each block adds, and the faces that are kept with it."""
    blocks = SliceReader(attempt, "segment", found.blocks, attempt.stage_dir("segment"))
    for key, record in found.blocks.items():
        if record.state != "empty":
            yield key, of_rows(*blocks.read(SUPERVOXELS, (CurveRows,), [key]))
    for key, record in found.faces.items():
        total, count = record.info["sums"]
        yield key, sums_of_contacts((total, count), (total, count))


def report_of(
    attempt: Attempt, curve: Curve, threshold: float, found: completeness.Records
) -> PoolReport:
    """The figures of the level of `map_threshold.LEVELS` that stands for the threshold.

    They count objects of every size; verify adds those of the cut itself (`cut_figures`).
    """
    level = at_level(threshold)
    classes = curve.size_classes()[level]
    used = int(classes.nonzero()[0].max(initial=-1)) + 1
    supervoxels = sum(record.info["n"] for record in found.blocks.values())
    objects = int(curve.objects()[level])
    largest = tuple(
        LargeObject(int(name) + FIRST_BLOCK, int(voxels), 0, 0)
        for voxels, name in zip(curve.largest.voxels[level], curve.largest.ids[level], strict=True)
        if voxels
    )
    foreground, most = curve.rule.voxels, largest[0].voxels if largest else 0
    return PoolReport(
        labels=supervoxels,
        joins=supervoxels - objects,
        objects=objects,
        left_out=None if attempt.config.segment.min_size_vox > 1 else 0,
        foreground_vox=foreground,
        largest=largest,
        largest_of_foreground=most / foreground if foreground else 0.0,
        largest_of_volume=most / attempt.plan.geometry.box.voxels,
        sizes=SizeHistogram(tuple(classes[:used].tolist()), ()),
    )


def _write(attempt: Attempt, report: PoolReport, curve: Curve, threshold: float) -> None:
    data = asdict(report)
    share, most = report.largest_of_foreground, attempt.config.pool.largest_object_warning
    data["warning"] = None
    if share > most and report.objects > 1:
        data["warning"] = (
            f"the largest object holds {share:.0%} of the segmented voxels (warned above {most:.0%}): "
            "false merges may have chained; raise segment.threshold"
        )
    data["curve"] = curve_data(curve)
    text = json.dumps(data, indent=1).encode()
    files.write_atomic(attempt.stage_dir("pool") / "report.json", text)
    small = attempt.config.segment.min_size_vox
    least = "" if LEVELS[at_level(threshold)] == threshold else "at least "
    smaller = f", those below {several(small, 'voxel')} included" if small > 1 else ""
    say(
        f"pool{attempt.named}: {several(report.labels, 'supervoxel')}, {least}{several(report.objects, 'object')} at {threshold:g}{smaller}"
    )
    if data["warning"]:
        tell(Note(f"pool{attempt.named}: WARNING: {data['warning']}", "warning"))


def curve_data(curve: Curve) -> Mapping[str, Any]:
    """The curve over all thresholds, as JSON holds it."""
    return {
        "thresholds": list(LEVELS),
        "objects": curve.objects().tolist(),
        "size_classes": curve.size_classes().tolist(),
        "largest_voxels": curve.largest.voxels.tolist(),
        "largest_ids": curve.largest.ids.tolist(),
        "sums": curve.rule.to_data(),
    }
