"""The paths of a run's directories and of its attempts' files.

The files inside a stage's directory are named by the modules of this room that write them, and
those of ``try-<hash>/`` by `trials.try_box`::

    work/
      magneton.json  lease  samples.json  thresholds.json  freed.json
      runs/<safe run id>/<n>/   config.yaml  plan.json  settled.json  groups/ (exact)  results/  logs/  slurm/  report.html  report.json  preview.png  objects-3d.bin  objects-3d.png  scores.json
                                at/<threshold>/  groups/  results/  logs/  failed/  report.html  ...: of each, where there are several
                                (of a verified run put together: `stages.gather`)
      segment-<fingerprint>/    labels.zarr  sizes/ (overlap)  residuals/  supervoxels-* (exact)  records/
      count-<fingerprint>/      pairs-*.parquet  sizes-*.parquet  records/ (overlap)
      faces-<fingerprint>/      faces-*.slices  records/                   (exact)
      rounds-<fingerprint>/<r>/ plan-*.json  names-*.slices  sent-*.slices  records/  (exact)
      pool-<fingerprint>/       pool-*.parquet (overlap)  report.json  records/
      cut-<fingerprint>/        cut-*.slices  records/                     (exact)
      apply-<fingerprint>/      records/
      downsample-<fingerprint>/ records/
      mesh-<fingerprint>/       cells/<cell>.pieces  records/              (as skeleton-)
      mesh_shards-<fingerprint>/ objects/<shard>.slices  records/          (as skeleton_shards-)
      try-<hash>/               try.json  layers of `magneton try`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from magneton_tasks.plan.stage_table import round_of

#: What a work directory's ``magneton.json`` says of it: an output has one too, and says whose it is.
MARK = "work directory"
#: Where an attempt keeps what belongs to jobs on a cluster: so called on disk, whichever scheduler's.
_JOBS = "slurm"


def stage_folder(stage: str, fingerprint: str) -> str:
    """Where a stage's results lie in the work directory: ``count-<fp>``, ``rounds-<fp>/2``."""
    number = round_of(stage)
    return f"{stage}-{fingerprint}" if number is None else f"rounds-{fingerprint}/{number}"


def safe_name(text: str) -> str:
    """A name that any file system takes; different texts stay different.

    Airflow's run ids hold ``:`` and ``+``: such a name becomes ``_`` and a short hash at its end.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")[:80]
    return safe if safe == text else f"{safe}-{sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class WorkPaths:
    """Paths under ``paths.work``."""

    work: Path

    @property
    def marker(self) -> Path:
        return self.work / "magneton.json"

    @property
    def samples(self) -> Path:
        """What plan has sampled from the input, so that the next plan needn't."""
        return self.work / "samples.json"

    @property
    def thresholds(self) -> Path:
        """The thresholds that results here took from their maps."""
        return self.work / "thresholds.json"

    @property
    def freed(self) -> Path:
        """What maintenance has freed here last."""
        return self.work / "freed.json"

    @property
    def runs(self) -> Path:
        return self.work / "runs"

    def run(self, run: str) -> Path:
        return self.runs / safe_name(run)

    def stage(self, stage: str, fingerprint: str) -> Path:
        return self.work / stage_folder(stage, fingerprint)

    def rounds(self, fingerprint: str) -> Path:
        """Where all rounds of the exact method lie."""
        return self.stage("round0", fingerprint).parent

    def records(self, stage: str, fingerprint: str) -> Path:
        return self.stage(stage, fingerprint) / "records"


@dataclass(frozen=True, slots=True)
class AttemptPaths:
    """Paths of one attempt: ``work/runs/<run>/<n>``.

    Attributes
    ----------
    cut
        One of its several thresholds, whose paths these are; config, plan, batches and jobs are those
        of all. Empty: of the attempt.
    """

    root: Path
    cut: str = ""

    def at(self, cut: str) -> AttemptPaths:
        """Those of one of several thresholds."""
        return AttemptPaths(self.root, cut)

    @property
    def all_cuts(self) -> Path:
        """Where each of several thresholds has a folder of its own."""
        return self.root / "at"

    @property
    def _own(self) -> Path:
        return self.all_cuts / self.cut if self.cut else self.root

    def failed(self, stage: str, batch: int | None = None, part: int | None = None) -> Path:
        """Is there while a task of one of several thresholds has failed, and says why."""
        return self._own / "failed" / task_name(stage, batch, part)

    @property
    def number(self) -> int:
        """Which attempt of its run it is."""
        return int(self.root.name)

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def settled(self) -> Path:
        """What pool has settled that plan couldn't know: `work.settled`."""
        return self.root / "settled.json"

    def groups_work(self, stage: str) -> Path:
        """What the attempt has to do of a stage that works groups: known late, so not in its plan."""
        return self._own / "groups" / f"{stage}.json"

    @property
    def preview(self) -> Path:
        return self._own / "preview.png"

    @property
    def shapes(self) -> Path:
        """The largest objects in 3D: `outcome.shapes.packed`."""
        return self._own / "objects-3d.bin"

    @property
    def shapes_picture(self) -> Path:
        return self._own / "objects-3d.png"

    @property
    def report(self) -> Path:
        return self._own / "report.json"

    @property
    def scores(self) -> Path:
        """Scores of the result against truths: `outcome.scores`."""
        return self._own / "scores.json"

    @property
    def page(self) -> Path:
        """The report for people."""
        return self._own / "report.html"

    @property
    def gathering(self) -> Path:
        """Is there while a process puts together what the attempt's tasks left."""
        return self.root / "gathering"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def jobs(self) -> Path:
        """What is known of the attempt's jobs on a cluster, whichever scheduler's."""
        return self.root / _JOBS

    def result(self, stage: str, batch: int | None = None, part: int | None = None) -> Path:
        root = self.root if batch is not None else self._own
        return root / "results" / f"{task_name(stage, batch, part)}.json"

    def log(self, stage: str, batch: int | None = None, part: int | None = None) -> Path:
        return self.logs / f"{task_name(stage, batch, part)}.log"

    @property
    def all_job_logs(self) -> Path:
        """Where the logs of jobs on a cluster lie, whichever scheduler's."""
        return self.logs / _JOBS

    def job_logs(self, stage: str, batch: int | None) -> Path:
        """Where the logs of a batch's jobs on a cluster lie."""
        return self.all_job_logs / task_name(stage, batch)

    def job_log(self, stage: str, batch: int | None, job: str) -> Path:
        """Log of one index of one array, ``12345_6``."""
        return self.job_logs(stage, batch) / f"{job}.log"

    def block_log(self, stage: str, key: int) -> Path:
        """Log of one failed block, group or cell."""
        return self._own / "logs" / f"{stage}-block-{key}.log"


def task_title(stage: str, batch: int | None) -> str:
    """A batch in messages: ``segment: batch 3``."""
    return stage if batch is None else f"{stage}: batch {batch}"


def stage_of(task: str) -> str:
    """The stage of a `task_name`."""
    return task.partition("-")[0]


def task_name(stage: str, batch: int | None, part: int | None = None) -> str:
    """A batch, or a part of it, in names of files and jobs: ``segment-0003-0001``."""
    name = stage if batch is None else f"{stage}-{batch:04d}"
    return name if part is None else f"{name}-{part:04d}"
