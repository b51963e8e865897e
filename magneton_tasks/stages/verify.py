"""Stage verify: prove that the result is complete.

Green means complete: every chunk was read, and is what was written. Where only a sample was read
(see `proof`), the result says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.units import several
from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.stage_plan import START_S
from magneton_tasks.stages import object_list, proof, replaced_files
from magneton_tasks.stages.claims import mark_finished
from magneton_tasks.stages.loop import explain, failure_of, finish, say
from magneton_tasks.stages.objects import proof as of_objects
from magneton_tasks.work import chunks, round_counts
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import pool_invalidating
from magneton_tasks.work.events import Failed, tell
from magneton_tasks.work.inputs import input_digest
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Record
from magneton_tasks.work.stores import pool_table, segmentation, table_dir
from magneton_tasks.work.validity import inputs_of, made_from, pool_input, pool_key, why_stale

if TYPE_CHECKING:  # heavy
    from magneton_tasks.formats.precomputed.store import PrecomputedStore

#: Findings that are listed one by one.
_LISTED = 20
#: Threads that read chunks: they wait for a disk or a network. Cells that they are given at a time.
_READERS, _CELLS = 4, 256

OTHER_POOL = "was written with another pool table"


@dataclass
class Findings:
    """What isn't as it must be."""

    problems: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.problems.append(text)
        if len(self.problems) <= _LISTED:
            say(f"verify: {text}")


def run(job: Job) -> int:
    """Check the stages that were asked for; returns the exit code."""
    attempt = job.attempt
    began = time.time()
    result: dict[str, Any] = {"stage": "verify", "stages": list(attempt.plan.stages)}
    try:
        result |= verify(attempt)
        code = 0
    except Exception as caught:
        error = explain(caught)
        code = error.exit_code
        tell(Failed.of("verify", error, at=attempt.named))
        result["failures"] = [{"key": None, **failure_of(error)}]
    result["seconds"] = round(time.time() - began, 3)
    finish(attempt, "verify", result)
    return code


def verify(attempt: Attempt) -> dict[str, Any]:
    """What the volume holds.

    Raises
    ------
    BadDataError
        Something is missing or wrong; it is invalidated, so that a rerun mends it.
    """
    findings, stages = Findings(), attempt.plan.stages
    n = len(attempt.plan.geometry.grid)
    segments = attempt.require("segment", range(n))
    counted: dict[str, Any] = {"blocks": n, "labels": sum(r.info["n"] for r in segments.values())}
    counted["empty_blocks"] = sum(r.state == "empty" for r in segments.values())
    _check_inputs(attempt, segments, findings)
    is_exact = attempt.config.method == "exact"
    if is_exact:  # no round counts any more that was made of such a block
        _refuse(findings)
    if "pool" in stages or "apply" in stages:
        pool, found = _between(attempt, segments, findings)
        counted |= found
    if "apply" in stages:
        run_cpu_s = START_S + sum(r.cpu_s or 0.0 for r in segments.values())
        cells = attempt.require("apply", range(len(attempt.plan.geometry.cells)))
        if is_exact:
            _check_voxels(cells, segments, counted["left_out_vox"], findings)
        output = segmentation(attempt)  # before apply, another result may lie there
        records = _written(attempt, cells)
        counted |= _check_output(attempt, pool, records, output, run_cpu_s, findings)
        counted |= of_objects.check(attempt, pool, output.objects, findings.add)
    _refuse(findings)
    if "apply" in stages:
        more = _list_objects(attempt, cells, output, counted, findings)
        _refuse(findings)
        more |= of_objects.show(attempt, output.objects)
        counted |= replaced_files.settle(attempt, output, records, more)
        mark_finished(attempt, counted["listed"])
    say(f"verify{attempt.named}: {proof.words(counted)}: {json.dumps(counted)}")
    return counted


def _refuse(findings: Findings) -> None:
    """Raise where something was found."""
    n = len(findings.problems)
    if n:
        raise BadDataError(
            f"the result isn't complete: {n:,} finding{'s' * (n > 1)}; the first: {findings.problems[0]}",
            "rerun (in Airflow: clear the task plan): what is named above is computed again",
        )


def _check_inputs(attempt: Attempt, segments: Mapping[int, Record], findings: Findings) -> None:
    stale = {
        k: "its input changed"
        for k, r in segments.items()
        if why_stale("segment", r, input_digest(attempt, k))
    }
    for key, cause in stale.items():
        findings.add(f"block {key}: {cause} while the run was going on")
    if stale:
        attempt.invalidate("segment", stale)


def _between(
    attempt: Attempt, segments: Mapping[int, Record], findings: Findings
) -> tuple[Record, dict[str, Any]]:
    """The pool's record, and its objects, after a check of all that lies between blocks and cells."""
    if attempt.config.method == "exact":
        from magneton_tasks.stages import verify_rounds  # numba costs a second to import

        return verify_rounds.check(attempt, segments, findings.add)
    pool = _check_pool(attempt, segments, findings)
    return pool, {"objects": pool.info["objects"], "joins": pool.info["joins"]}


def _check_pool(attempt: Attempt, segments: Mapping[int, Record], findings: Findings) -> Record:
    """Every block counted, with the labels it has; every label has a global id."""
    grid = attempt.plan.geometry.grid
    counts = attempt.require("count", range(len(grid)))
    labels = {k: r.output or "" for k, r in segments.items()}
    wrong = {
        key: "was counted with other labels than it has now"
        for key, expected in made_from("count", grid, labels, counts)
        if why_stale("count", counts[key], expected)
    }
    pool = attempt.require("pool", {0})[0]
    for key, cause in wrong.items():
        findings.add(f"block {key}: {cause}")
    if wrong:
        attempt.invalidate("count", wrong)
    elif why_stale("pool", pool, pool_input(inputs_of(counts))):
        findings.add("the pool was made from other pairs than those there are now")
        attempt.invalidate("pool", {0: "made from other pairs"})
    _check_table(attempt, pool, segments, findings)
    return pool


def _check_table(
    attempt: Attempt, pool: Record, segments: Mapping[int, Record], findings: Findings
) -> None:
    with pool_invalidating(attempt):
        rows = pool_table(attempt, pool).counts()
    bad = [k for k, r in segments.items() if rows.get(k, 0) != r.info["n"]]
    for key in bad:
        findings.add(
            f"block {key}: {several(segments[key].info['n'], 'label')}, but {several(rows.get(key, 0), 'row')} in the pool table"
        )
    if bad:
        attempt.invalidate("pool", {0: f"rows missing in {table_dir(attempt, pool.input or '')}"})


def _written(attempt: Attempt, cells: Mapping[int, Record]) -> dict[str, Mapping[int, Record]]:
    """The records of all cells, those of apply, by stage."""
    coarse = attempt.plan.geometry.coarse_cells
    more = {} if coarse is None else attempt.require("downsample", range(len(coarse)))
    return {"apply": cells, **({"downsample": more} if more else {})}


def _check_output(
    attempt: Attempt,
    pool: Record,
    records: Mapping[str, Mapping[int, Record]],
    output: PrecomputedStore,
    run_cpu_s: float,
    findings: Findings,
) -> dict[str, Any]:
    """Every cell written with this pool, and each of its chunks there as recorded.

    Returns
    -------
    dict
        ``chunks``: how many files there are; ``sharded``: they are shards; ``checked``: how that was found out, see `proof.checked`.
    """
    n = n_bytes = 0
    for record in chain.from_iterable(of.values() for of in records.values()):
        n += sum(map(len, record.info["chunks"]))
        n_bytes += sum(map(sum, record.info["chunks"]))
    share = proof.share_to_read(n, n_bytes, run_cpu_s, is_local=output.objects.is_local)
    reader = _Reader(attempt, chunks.ChunkFiles(output), share)
    for stage, found in records.items():
        bad = {k: OTHER_POOL for k, r in found.items() if why_stale(stage, r, pool_key(pool))}
        current = ((k, r) for k, r in found.items() if k not in bad)
        bad = bad | {k: chunks.summed_up(d) for k, d in reader.damaged(stage, current) if d}
        for key, cause in sorted(bad.items()):
            findings.add(f"{stage} cell {key}: {cause}")
        if bad:
            attempt.invalidate(stage, bad)
    told = {"chunks": n, "checked": proof.checked(n, reader.read, share)}
    return {**told, "sharded": True} if attempt.plan.geometry.sharded else told


def _check_voxels(
    cells: Mapping[int, Record], segments: Mapping[int, Record], left_out: int, findings: Findings
) -> None:
    """Every labelled voxel of a block is in the volume, or left out."""
    labelled = sum(record.info.get("voxels", 0) for record in segments.values())
    written = sum(record.info["voxels"] for record in cells.values())
    for problem in round_counts.voxels_written(labelled, written, left_out):
        findings.add(problem)


def _list_objects(
    attempt: Attempt,
    cells: Mapping[int, Record],
    output: PrecomputedStore,
    counted: dict[str, Any],
    findings: Findings,
) -> dict[str, FileInfo]:
    """Write the table of objects, as many as were cut, of as many voxels as were written; returns the files."""
    found = object_list.write(attempt, cells, output.objects)
    if found is None:
        say(
            "verify: NOTE: there is no table of objects, and none in Neuroglancer's list: an earlier "
            "release wrote cells of this output. To have them: rerun with --restart --stages apply"
        )
    elif attempt.config.method == "exact":
        written = sum(record.info["voxels"] for record in cells.values())
        for what, there, told in (
            ("objects", found.objects, counted["objects"]),
            ("voxels", found.voxels, written),
        ):
            if there != told:
                findings.add(f"the table of objects has {there:,} {what}; {told:,} were written")
    return {} if found is None else dict(found.files)


class _Reader:
    """Looks at the chunks of cells, some cells at a time.

    Attributes
    ----------
    read
        How many chunks were compared with a checksum so far.
    """

    def __init__(self, attempt: Attempt, files: chunks.ChunkFiles, share: float) -> None:
        self._attempt, self._files, self._share = attempt, files, share
        self.read = 0

    def damaged(
        self, stage: str, records: Iterator[tuple[int, Record]]
    ) -> Iterator[tuple[int, list[chunks.Damage]]]:
        """What is wrong with the chunks of each cell."""
        with ThreadPoolExecutor(_READERS) as threads:
            while some := list(islice(records, _CELLS)):
                for (key, _), (n, damaged) in zip(
                    some, threads.map(lambda item: self._look(stage, *item), some), strict=True
                ):
                    self.read += n
                    yield key, damaged

    def _look(self, stage: str, key: int, record: Record) -> tuple[int, list[chunks.Damage]]:
        """How many chunks were compared with a checksum, and which aren't as recorded."""
        geometry, pool = self._attempt.plan.geometry, record.info["pool"]
        parts = list(chunks.parts(self._files.store, geometry, stage, key, record))
        n = sum(len(p.names) for p in parts)
        wanted = proof.chosen(n, self._share, f"{pool} {stage} {key}")
        begin, read, damaged = 0, 0, list[chunks.Damage]()
        for part in parts:
            every = range(len(part.names))
            inside = every if len(wanted) == n else {at for at in every if begin + at in wanted}
            read += len(inside) if part.crc32 is not None else 0
            damaged += self._files.differing(part, inside)
            begin += len(part.names)
        return read, damaged
