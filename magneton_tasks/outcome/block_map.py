"""The block map of an attempt: where its stages stand, layer by layer, while it goes on or later.

Pure reading, from records and results alone; standard library and light rooms only, for Airflow's
web server looks through here. `BlockMap.refresh` may take seconds on a large volume: whoever serves
answers calls it in a thread of its own. All else answers from what it has found.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.outcome import block_squares, block_summary
from magneton_tasks.outcome.block_columns import StageColumns, VolumeColumns
from magneton_tasks.outcome.current import is_alive
from magneton_tasks.plan.stage_table import stages_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.states import VolumeStates

Data = dict[str, Any]


class BlockMap:
    """The block map of one attempt.

    Attributes
    ----------
    summary
        What `block_summary.summarise` found at the last refresh.
    took_s
        How long that refresh took.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self._volume = VolumeColumns(attempt)
        self.summary: Data = {}
        self.took_s = 0.0
        self._states: list[VolumeStates] | None = None
        self._signature: object = None
        #: Of stages without records at the last look: whether the run was alive then.
        self._blank: dict[str, bool | None] = {}
        self._version = 0

    @property
    def columns(self) -> dict[str, StageColumns]:
        """Of all stages whose blocks, groups or cells are known by now."""
        return self._volume.stages

    @property
    def stages(self) -> list[str]:
        return list(self.columns)

    def refresh(self) -> None:
        """Look again; reads only what was added since, and nothing where nothing was."""
        if self.attempt.is_open and self.attempt.paths.settled.is_file():
            self.attempt = self.attempt.as_settled()
            self._volume, self._states = VolumeColumns(self.attempt), None
        alive = is_alive(self.attempt)
        signature = alive, self._look_of_files()
        if signature == self._signature:
            return
        began = time.monotonic()
        if self._states is None:
            self._states = self._volume.states(alive=alive)
        else:
            for states in self._states:
                states.refresh(alive)
        self._volume.take_in(self._states)
        for name, columns in self.columns.items():
            states = self._volume.states_of(name, self._states)
            blank = alive if states.is_blank(columns.stage) else None
            if blank is None or blank is not self._blank.get(name):
                columns.update(states.judged(columns.stage), alive)
            self._blank[name] = blank
        self._version += 1
        self.summary = {
            **block_summary.summarise(self.attempt, self.columns, alive),
            "hosts": list(self._volume.hosts), "runs": list(self._volume.runs), "version": self._version,
        }  # fmt: skip
        if not alive:
            self._states = None  # its lines take ten times the memory of the columns
        self._signature, self.took_s = signature, time.monotonic() - began

    def _look_of_files(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Names and sizes of everything that a refresh reads."""
        each = self.attempt.each()
        places = dict.fromkeys(
            self.attempt.work.records(stage, one.plan.fingerprints.of(stage))
            for one in each
            for stage in stages_of(self.attempt.config.method)[:-1]
        )
        more = [
            place
            for paths in (self.attempt.paths, *(one.paths for one in each))
            for place in (paths.result("x").parent, paths.groups_work("x").parent)
        ]
        return [(str(p), _sizes(p)) for p in (*places, *more)]

    # ------------------------------------------------------------------ answers
    def told(self) -> Data:
        """The summary, with the time left as of now."""
        return block_summary.with_time_left(self.attempt, self.summary, time.time())

    def layer(self, stage: str, z: int) -> Data:
        """The head of a stage's map and the squares of one layer of it: see `block_squares`.

        Raises
        ------
        KeyError
            No such stage, or none with a map.
        """
        columns = self.columns[stage]
        if columns.grid is None:
            raise KeyError(stage)
        factor = block_squares.layer_factor(columns.grid.shape)
        head = block_squares.head(columns, factor)
        z = min(max(z, 0), head["layers"] - 1)
        return {**head, "z": z, **block_squares.layer(columns, factor, z, with_times=True)}


def _sizes(directory: Path) -> list[tuple[str, int]]:
    return [(n, files.stat_size(directory / n) or 0) for n in sorted(files.listdir(directory))]
