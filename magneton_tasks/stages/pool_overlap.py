"""Stage pool of the overlap method: join the labels of all blocks, and give every label its global id."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.base.units import several
from magneton_tasks.config.settings import matching_rule
from magneton_tasks.kernels import global_ids
from magneton_tasks.kernels.global_ids import Pool
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match
from magneton_tasks.kernels.pool_report import PoolReport
from magneton_tasks.plan.cost_rest import pool_memory
from magneton_tasks.runners.memory_advice import require_memory
from magneton_tasks.stages import pooling
from magneton_tasks.stages.loop import say
from magneton_tasks.stages.pooling import Pooled, Pooling
from magneton_tasks.work import tables
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Note, tell
from magneton_tasks.work.job import Job
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.pool_table import write_pool
from magneton_tasks.work.record import Info, Kind, Record, files_info
from magneton_tasks.work.stores import table_dir
from magneton_tasks.work.validity import inputs_of, pool_input

#: Rows of one file of the pool table, about: some 60 bytes of memory a row while it's written.
ROWS_PER_FILE = 2_000_000
_COLUMNS: dict[Kind, tuple[str, ...]] = {"pairs": MATCH_COLUMNS, "sizes": ("block", "core")}


def run(job: Job) -> int:
    """Pool the volume; returns the exit code."""
    attempt = job.attempt

    @cache
    def counts() -> PackedRecords:
        return attempt.require("count", range(len(attempt.plan.geometry.grid)))

    def make(digest: str) -> Pooled:
        report, written = _pool(attempt, counts(), digest)
        told = Info(objects=report.objects, labels=report.labels, joins=report.joins)
        return Pooled(told | Info(files=files_info(written)), {**told})

    return pooling.run(
        job,
        Pooling(
            lambda: pool_input(inputs_of(counts())), make, "the pairs are those of the last time"
        ),
    )


def _pool(
    attempt: Attempt, counts: Mapping[int, Record], digest: str
) -> tuple[PoolReport, dict[str, files.FileInfo]]:
    """The report, and size and CRC-32 of each file of the pool table by its name."""
    grid, config = attempt.plan.geometry.grid, attempt.config
    labels = np.array([counts[k].info["n"] for k in range(len(grid))], np.int64)
    _check_memory(attempt, int(labels.sum()))
    say(f"pool: {several(int(labels.sum()), 'label')} in {several(len(grid), 'block')}")
    made = global_ids.Pooling(labels)
    for joined in _matched(attempt, counts):
        made.add(*joined)
    pool = made.finish()
    for sizes in _rows(attempt, counts, "sizes"):
        _add_sizes(pool, sizes)
    pool.leave_out(config.segment.min_size_vox)
    directory = table_dir(attempt, digest)
    written = dict(
        write_pool(directory, {k: pool.global_ids(k) for k in some})
        for some in _file_ranges(labels)
    )
    report = pool.report(grid.box.voxels)
    _report(attempt, report)
    return report, written


#: block a, block b, label a, label b of labels that are one object
_Joined = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _matched(attempt: Attempt, counts: Mapping[int, Record]) -> Iterator[_Joined]:
    """What the rule joins where blocks overlap."""
    rule = matching_rule(attempt.config)
    for pairs in _rows(attempt, counts, "pairs"):
        joined = match(pairs, rule)
        a, b = pairs["block_a"][joined], pairs["block_b"][joined]
        yield a, b, pairs["label_a"][joined], pairs["label_b"][joined]


def _rows(
    attempt: Attempt, counts: Mapping[int, Record], kind: Kind
) -> Iterator[dict[str, np.ndarray]]:
    """Column batches of all blocks' rows, file by file."""
    ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
    info: dict[str, files.FileInfo] = {}
    owners: dict[str, list[int]] = defaultdict(list)
    for key in sorted(counts):
        record = counts[key]
        (row, n), name = record.info[kind], record.info["file"]
        if n:
            ranges[name].append((row, row + n))
            owners[name].append(key)
            info[name] = record.files[kind]
    directory = attempt.stage_dir("count")
    for name in sorted(ranges):
        path = directory / f"{kind}-{name}.parquet"
        with attempt.invalidating("count", owners[name], "these blocks are counted again"):
            yield from tables.iter_rows(
                path, info[name], sorted(ranges[name]), kind, attempt.wait_s, _COLUMNS[kind]
            )


def _file_ranges(labels: NDArray[np.int64]) -> Iterator[range]:
    """Ranges of consecutive blocks of about `ROWS_PER_FILE` labels each; together all blocks."""
    number = np.cumsum(labels) // ROWS_PER_FILE
    borders = np.flatnonzero(np.diff(number)) + 1
    for begin, end in zip([0, *borders], [*borders, len(labels)], strict=True):
        yield range(int(begin), int(end))


def _add_sizes(pool: Pool, sizes: dict[str, np.ndarray]) -> None:
    block = sizes["block"]
    starts = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
    for begin, end in zip(starts, np.r_[starts[1:], len(block)], strict=True):
        pool.add_sizes(int(block[begin]), sizes["core"][begin:end])


def _check_memory(attempt: Attempt, labels: int) -> None:
    require_memory(
        attempt, "pool", pool_memory(labels).bound, f"pool of {several(labels, 'label')}"
    )


def _report(attempt: Attempt, report: PoolReport) -> None:
    data = asdict(report)
    share, most = report.largest_of_foreground, attempt.config.pool.largest_object_warning
    data["warning"] = None
    if share > most and report.objects > 1:
        data["warning"] = (
            f"the largest object holds {share:.0%} of the segmented voxels (warned above {most:.0%}): "
            "false merges may have chained; raise segment.threshold, or use pool.rule mutual"
        )
    text = json.dumps(data, indent=1).encode()
    files.write_atomic(attempt.stage_dir("pool") / "report.json", text)
    say(
        f"pool: {several(report.labels, 'label')}, {several(report.joins, 'join')}, {several(report.objects, 'object')}, {report.left_out:,} left out"
    )
    if data["warning"]:
        tell(Note(f"pool: WARNING: {data['warning']}", "warning"))
