"""Small volumes, and the whole pipeline run in this process: what the stage tests stand on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy.spatial import KDTree

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.base.lease import acquire
from magneton_tasks.base.peak import own_peak_bytes
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.outcome import after_verify
from magneton_tasks.plan import cost_overlap
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import AFTER_POOL, MAPPED, OF_GROUPS, STAGES
from magneton_tasks.stages import several
from magneton_tasks.stages.dispatch import run_of
from magneton_tasks.stages.planning import draft as planning
from magneton_tasks.stages.planning import group_work
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.job import Job
from magneton_tasks.work.left_out import failed_before
from magneton_tasks.work.record import Record

Array = npt.NDArray[Any]

SHAPE: Vec3 = (40, 64, 64)
OFFSET: Vec3 = (7, -16, 300)
VOXEL_NM = (16.0, 8.0, 8.0)
CHUNK: Vec3 = (16, 32, 32)

#: 2 x 2 x 2 blocks of the volume of SHAPE; two mips, of which the second halves z too
SETTINGS: dict[str, Any] = {
    "method": "overlap",
    "paths": {"visibility_wait_s": 0},
    "block": {"size": [32, 48, 48], "overlap": [8, 16, 16]},
    "segment": {"merge_function": "mean", "threshold": 0.5, "aff_thresholds": [0.05, 0.9]},
    "apply": {"chunk_size": [16, 16, 16], "mips": 2},
    # Children of a test process are as large as that; the limits have tests of their own.
    "local": {"workers": 1, "memory": "8GiB"},
}


# ------------------------------------------------------------------ volumes
def cells(shape: Vec3 = SHAPE, n: int = 25, seed: int = 0) -> Array:
    """Labels 1..n of Voronoi cells: uint32 (z, y, x)."""
    points = np.random.default_rng(seed).uniform(0, 1, (n, 3)) * shape
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.asarray(KDTree(points).query(at)[1] + 1, np.uint32)


def balls(shape: Vec3 = SHAPE, step: int = 16, radius: float = 6.5) -> Array:
    """Balls that don't touch, on a lattice: labels, 0 between them, uint32 (z, y, x)."""
    labels = np.zeros(shape, np.uint32)
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    lattice = product(*(range(step // 2, s, step) for s in shape))
    for label, centre in enumerate(lattice, 1):
        labels[((at - np.array(centre)) ** 2).sum(-1) < radius**2] = label
    return labels


def affinities(labels: Array, noise: float = 0.15, seed: int = 0) -> Array:
    """uint8 (3, z, y, x): high inside a label, low between two and in the background."""
    truth = np.zeros((3, *labels.shape))
    for d in range(3):
        here, out = np.moveaxis(labels, d, 0), np.moveaxis(truth[d], d, 0)
        out[1:] = (here[1:] == here[:-1]) & (here[1:] > 0)
    if noise:
        spread = np.random.default_rng(seed).normal(0, noise, truth.shape)
        truth = np.abs(truth - np.abs(spread) * (truth.max() > 0))
    return np.asarray(np.clip(truth, 0, 1) * 255, np.uint8)


def write_precomputed(path: Path, array: Array, **options: Any) -> str:
    """Write an array as a precomputed layer of the usual place; returns its URL."""
    url = f"file://{path}"
    given: dict[str, Any] = {"voxel_offset": OFFSET, "chunk_size": CHUNK, **options}
    precomputed.write_volume(url, array, given.pop("voxel_size_nm", VOXEL_NM), **given)
    return url


def write_config(folder: Path, settings: Mapping[str, Any] | None = None, **paths: str) -> Path:
    """A ``volume.yaml`` in ``folder``; ``settings`` by dotted key, over `SETTINGS`."""
    data: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SETTINGS))
    data["paths"] |= {
        "input": f"file://{folder}/affinity",
        "output": f"file://{folder}/segmentation",
        "work": f"{folder}/work",
        **paths,
    }
    for key, value in (settings or {}).items():
        section, _, leaf = key.rpartition(".")
        place = data.setdefault(section, {}) if section else data
        place[leaf] = deepcopy(value)  # a later key may lie in it
    path = folder / "volume.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def make_volume(
    folder: Path, array: Array | None = None, settings: Mapping[str, Any] | None = None
) -> Path:
    """Noisy Voronoi cells (or ``array``) as precomputed affinities, with their config."""
    folder.mkdir(parents=True, exist_ok=True)
    write_precomputed(folder / "affinity", _noisy_cells() if array is None else array)
    return write_config(folder, settings)


@cache
def _noisy_cells() -> Array:
    made = affinities(cells())
    made.flags.writeable = False
    return made


# ------------------------------------------------------------------ runs
@dataclass
class Run:
    """What came of one pass over a volume."""

    plan: Plan
    attempt: Attempt
    draft: planning.Draft
    codes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return max((c for codes in self.codes.values() for c in codes), default=0)

    def records(self, stage: str) -> dict[int, Record]:
        """The valid record of each key."""
        states = self.attempt.manifest(stage).read()
        return {k: s.valid for k, s in states.items() if s.valid is not None}

    def last(self, stage: str) -> dict[int, Record]:
        """The newest record of each key."""
        return {k: s.last for k, s in self.attempt.manifest(stage).read().items()}

    def made(self, stage: str) -> set[int]:
        """The blocks or cells that this attempt did."""
        found = self.records(stage).items()
        return {
            k
            for k, r in found
            if r.run == self.attempt.paths.root.parent.name and r.attempt == self.plan.attempt
        }

    def result(self, stage: str, batch: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.attempt.paths.result(stage, batch).read_text())
        return found


def plan_run(config: Path, sets: Mapping[str, object] | None = None, **options: Any) -> Run:
    """Plan an attempt."""
    request = PlanRequest(config, options.pop("run", "test"), sets or {}, **options)
    plan, paths, draft = planning.run(request)
    return Run(plan, Attempt.open(paths.root), draft)


def run_stages(
    run: Run, *, reverse: bool = False, parts: int = 1, stages: Sequence[str] | None = None
) -> Run:
    """All stages of an attempt, up to the first that fails."""
    for stage in stages or [s for s in STAGES if s in run.plan.work or s == "verify"]:
        if stage in OF_GROUPS:
            prepared = group_work.prepare(run.attempt, stage)
            if not prepared.batches:
                continue
        if stage in MAPPED:
            work = run.attempt.work_of(stage)
            jobs = [
                Job.of_batch(run.attempt, stage, batch, None if parts == 1 else (part, parts))
                for batch in range(work.batches)
                for part in range(parts)
            ]
            codes = [run_job(job) for job in (jobs[::-1] if reverse else jobs)]
        elif stage == "pool":
            codes = [run_alone(run.attempt, stage)] if run.plan.work["pool"].todo else []
        elif run.plan.cuts:
            codes = [prove_each(run.attempt, number) for number in range(len(run.plan.cuts))]
        else:
            codes = [prove(run.attempt)]
        run.codes[stage] = codes
        check_memory(run)
        if any(codes) and not (run.plan.cuts and stage in AFTER_POOL):
            break
    return run


def run_job(job: Job) -> int:
    """A batch; of a threshold that has failed before, nothing."""
    why = failed_before(job.attempt, job.stage)
    if why is not None:
        return several.leave_out(job, why)
    return run_of(job.stage, job.attempt.config.method)(job)


def run_alone(attempt: Attempt, stage: str) -> int:
    """A stage that isn't mapped, at each threshold."""
    return several.run(attempt, stage, _one) if attempt.plan.cuts else _one(attempt, stage)


def _one(attempt: Attempt, stage: str) -> int:
    if stage == "verify":
        return prove(attempt)
    return run_of(stage, attempt.config.method)(Job(attempt, stage))


def prove(attempt: Attempt) -> int:
    """Verify, and show what was found."""
    return after_verify.run(
        attempt, run_of("verify", attempt.config.method)(Job(attempt, "verify"))
    )


def prove_each(attempt: Attempt, number: int) -> int:
    """Verify at one of several thresholds, as a task of its own does."""
    code = several.run_each(attempt, "verify", _one, number)
    after_verify.of_several(attempt)
    return code


def run_pipeline(
    config: Path,
    sets: Mapping[str, object] | None = None,
    *,
    reverse: bool = False,
    parts: int = 1,
    expect: int | None = 0,
    **options: Any,
) -> Run:
    """Plan and run all stages here; ``options`` as those of `PlanRequest`."""
    run = run_stages(plan_run(config, sets, **options), reverse=reverse, parts=parts)
    release(run)
    assert expect is None or run.code == expect, run.codes
    return run


def release(run: Run) -> None:
    """Give the volume's lease back, so that a run of another name may follow."""
    directories = lease_places(run.attempt.config, run.plan.thresholds)
    acquire(directories, run.plan.run, process_bound=False).release()


def check_memory(run: Run, *, honest: bool = False) -> None:
    """No record's peak lies above the bound that plan gave.

    A child of this process holds what the tests have imported, which a worker doesn't;
    ``honest``: the records are those of workers.
    """
    extra = 0
    stages = tuple(run.plan.work) if honest else ("segment",)
    if not honest:
        extra = max(own_peak_bytes() - cost_overlap.FORKED_BASE_BYTES, 0)
    for stage in stages:
        for key, record in run.records(stage).items():
            if run.attempt.is_ours(record):
                assert (record.peak_bytes or 0) <= run.plan.memory[stage].bound + extra, (
                    stage,
                    key,
                )


def read_segmentation(run_or_url: Run | str, mip: int = 0, box: Box | None = None) -> Array:
    """The voxels of the output, uint64 (z, y, x)."""
    url = run_or_url if isinstance(run_or_url, str) else run_or_url.attempt.config.paths.output
    volume = open_volume(url, mip)
    return np.asarray(volume.read(box or volume.info.box)[0])


def all_mips(run: Run) -> list[Array]:
    return [read_segmentation(run, mip) for mip in range(len(run.plan.geometry.factors) + 1)]


def same_partition(a: Array, b: Array) -> bool:
    """Whether two segmentations differ in nothing but their ids; 0 must be 0."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return bool(((pairs[0] == 0) == (pairs[1] == 0)).all()) and len(
        np.unique(pairs[0])
    ) == pairs.shape[1] == len(np.unique(pairs[1]))


# ------------------------------------------------------------------ killing
def in_fork(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process; its exit code, negative where a signal ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            value = work()
            code = value if isinstance(value, int) else 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at(n: int, *names: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Patch functions of ``os`` so that the ``n``-th call of them all (from 1) kills this process.

    For a process of its own: nothing is restored. ``when`` gets the call's arguments and says
    whether it counts.
    """
    calls = count(1)  # threads take a number each

    def patched(before: Callable[..., Any]) -> Callable[..., Any]:
        def function(*args: Any, **options: Any) -> Any:
            if when(*args) and next(calls) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return before(*args, **options)

        return function

    for name in names:
        setattr(os, name, patched(getattr(os, name)))


def read_owner(config: Path) -> Any:
    """The ``magneton.json`` of a config's output."""
    return json.loads((config.parent / "segmentation" / "magneton.json").read_text())


def output_files(config: Path) -> list[Path]:
    """Every file of a config's output."""
    root = Path(yaml.safe_load(config.read_text())["paths"]["output"].removeprefix("file://"))
    return sorted(p for p in root.rglob("*") if p.is_file())
