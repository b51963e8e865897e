"""A volume config from Python: plan, run and look, with results as numpy and pyarrow."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magneton_tasks.api.results import Planned, Scores, VolumeStatus, planned, status_of
from magneton_tasks.api.running import run_and_tell
from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError, NoInputError
from magneton_tasks.formats.volume import open_volume
from magneton_tasks.kernels.evaluate import ContingencyTable
from magneton_tasks.outcome import scores as kept
from magneton_tasks.outcome.objects import objects_of
from magneton_tasks.outcome.status import Status
from magneton_tasks.runners.command import run_command
from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.trials import evaluation
from magneton_tasks.work.attempts import open_latest

UInt64 = NDArray[np.uint64]


def open_config(
    config: str | os.PathLike[str],
    sets: Mapping[str, object] | None = None,
    partition: str | None = None,
) -> Volume:
    """Open a volume config, as ``magneton.open("volume.yaml")``.

    Parameters
    ----------
    config
        Path of the YAML file, as `magneton config new` writes it.
    sets
        Values over those of the file for `Volume.plan` and `Volume.run`, by dotted key:
        ``{"segment.threshold": 0.4}``.
    partition
        What stands for ``{partition}`` in the paths.

    Raises
    ------
    MagnetonError
        There's no such file, or it is wrong. Its ``exit_code`` is that of the command line.
    """
    path = Path(config).absolute()
    load_config(path, dict(sets or {}), partition)  # what is wrong is told at once
    return Volume(path, dict(sets or {}), partition)


@dataclass(frozen=True)
class Volume:
    """A volume config; `magneton.open` makes it.

    Each method reads the file and the work directory anew. Errors are `magneton.MagnetonError`,
    with the message and the ``exit_code`` of the command line.
    """

    config: Path
    sets: Mapping[str, object] = field(default_factory=dict)
    partition: str | None = None

    def plan(self) -> Planned:
        """Check the volume, and say what a run would do: as ``magneton run --dry-run``; writes nothing."""
        request = PlanRequest(
            self.config,
            time.strftime("python_%Y-%m-%dT%H-%M-%S"),
            self.sets,
            self.partition,
            process_bound=True,
            guess=True,
        )
        return planned(draft.draft(request, write=False).plan)

    def run(
        self,
        *,
        runner: str | None = None,
        workers: int | None = None,
        stages: Sequence[str] | None = None,
        restart: bool = False,
        overwrite_output: bool = False,
        quiet: bool = False,
    ) -> VolumeStatus:
        """Run the whole pipeline, as ``magneton run``, in a process of its own; returns when it ends.

        Ctrl-C (in a notebook: interrupt the kernel) stops it; finished work stays, and the next
        call goes on. Like any run without a terminal it doesn't ask before it replaces a result of
        other settings; `plan` tells.

        Parameters
        ----------
        runner, workers, stages, restart, overwrite_output
            As ``magneton run``'s options of these names.
        quiet
            Print nothing. Else what the command prints goes to ``sys.stdout``.

        Raises
        ------
        MagnetonError
            The run was refused, or a stage failed.
        """
        command = run_command(
            self.config,
            self.sets,
            self.partition,
            runner=runner,
            workers=workers,
            stages=stages,
            restart=restart,
            overwrite_output=overwrite_output,
        )
        run_and_tell(command, quiet=quiet)
        return self.status()

    def status(self, *, check: bool = False) -> VolumeStatus:
        """How far the newest run is, as ``magneton status``; ``check``: read all files, verify checksums.

        Raises
        ------
        NoInputError
            There was no run yet.
        """
        return status_of(Status(self.config, self.partition, check=check))

    def objects(self) -> pa.Table:
        """All objects of the newest run, from its tables.

        Returns
        -------
        pyarrow.Table
            ``id`` (uint64, ascending), as in the output, and ``voxels`` (int64).

        Raises
        ------
        NoInputError
            The run isn't finished.
        """
        attempt = open_latest(self.config, self.partition)
        if not self.status().is_done:
            raise NoInputError(
                f"the newest run of {self.config} isn't finished", "run it to its end: run()"
            )
        ids, voxels = objects_of(attempt)
        return pa.table({"id": ids, "voxels": voxels})

    def labels(
        self, begin: Sequence[int] | None = None, end: Sequence[int] | None = None, mip: int = 0
    ) -> UInt64:
        """Voxels of the output.

        Parameters
        ----------
        begin, end
            z, y, x, in voxels of the mip, voxel offset included; None: of the whole volume.

        Returns
        -------
        uint64 (z, y, x)
            Global ids; 0: background.
        """
        volume = open_volume(self.output, mip)
        whole = volume.info.box
        box = Box(vec3(begin or whole.begin), vec3(end or whole.end))
        return np.asarray(volume.read(box)[0], np.uint64)

    def evaluate(
        self,
        truth: str | os.PathLike[str] | NDArray[np.integer[Any]],
        *,
        mip: int = 0,
        truth_mip: int = 0,
        resample: bool = False,
        background: Sequence[int] = (),
    ) -> Scores:
        """Score the output against a truth, as ``magneton evaluate``, which keeps it with the run.

        Parameters
        ----------
        truth
            URL or path of a segmentation, or an array of integers (z, y, x) of the output's shape;
            0: not labelled.
        mip, truth_mip
            Of the output and of the truth.
        resample
            Compare other voxel sizes, at the centres of the truth's voxels.
        background
            Further ids that mean background.

        Raises
        ------
        MagnetonError
            The volumes don't fit, or there is no output yet.
        """
        if isinstance(truth, np.ndarray):
            return self._against(truth, mip, background)
        url = truth if isinstance(truth, str) else str(Path(truth).absolute())
        found = evaluation.score(
            self.output, url, (mip, truth_mip), resample=resample, background=background
        )
        kept.keep(self.output, url, (mip, truth_mip), found)
        found["notes"] = tuple(found["notes"])
        return Scores(**{key: found[key] for key in Scores.__dataclass_fields__})

    def _against(
        self, truth: NDArray[np.integer[Any]], mip: int, background: Sequence[int]
    ) -> Scores:
        volume = open_volume(self.output, mip)
        box = volume.info.box
        if truth.shape != box.shape or truth.dtype.kind not in "iu":
            raise ConfigError(
                f"the truth is {truth.dtype} {truth.shape}, the output has {box.shape} voxels at mip {mip}",
                "give an array of integers of that shape (z, y, x), or the URL of a volume",
            )
        table = ContingencyTable(background)
        for tile in box.tiles(vec3([evaluation.EDGE_VOX] * 3)):
            table.add(volume.read(tile)[0], truth[tile.slices(box.begin)])
        found = table.scores()
        return Scores(found.vi, found.vi_split, found.vi_merge, found.arand, found.voxels)

    @property
    def output(self) -> str:
        """URL of the newest run's segmentation."""
        return open_latest(self.config, self.partition).config.paths.output
