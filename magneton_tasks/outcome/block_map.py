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
from magneton_tasks.outcome import block_summary
from magneton_tasks.outcome.block_columns import StageColumns, squares, worst
from magneton_tasks.outcome.current import is_alive
from magneton_tasks.outcome.report_blocks import Names
from magneton_tasks.plan.stage_names import STAGES, noun_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.states import VolumeStates, grid_of, total_of

Data = dict[str, Any]

#: Squares of one layer; of more blocks several become one.
MAX_SQUARES = 10_000


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
        self.hosts, self.runs = Names(), Names(f"{attempt.name}/{attempt.plan.attempt}")
        geometry = attempt.plan.geometry
        self.columns = {
            stage: StageColumns(
                attempt, stage, total, grid_of(geometry, stage), self.hosts, self.runs
            )
            for stage in STAGES[:-1]
            if (total := total_of(geometry, stage))
        }
        self.summary: Data = {}
        self.took_s = 0.0
        self._states: VolumeStates | None = None
        self._signature: object = None
        #: Of stages without records at the last look: whether the run was alive then.
        self._blank: dict[str, bool | None] = {}
        self._version = 0

    @property
    def stages(self) -> list[str]:
        return list(self.columns)

    def refresh(self) -> None:
        """Look again; reads only what was added since, and nothing where nothing was."""
        alive = is_alive(self.attempt)
        signature = alive, self._look_of_files()
        if signature == self._signature:
            return
        began = time.monotonic()
        if self._states is None:
            self._states = VolumeStates(self.attempt, alive=alive)
        else:
            self._states.refresh(alive)
        for stage, columns in self.columns.items():
            blank = alive if self._states.is_blank(stage) else None
            if blank is None or blank is not self._blank.get(stage):
                columns.update(self._states.looks(stage), alive)
            self._blank[stage] = blank
        self._version += 1
        self.summary = {
            **block_summary.summarise(self.attempt, self.columns, alive),
            "hosts": list(self.hosts), "runs": list(self.runs), "version": self._version,
        }  # fmt: skip
        if not alive:
            self._states = None  # its lines take ten times the memory of the columns
        self._signature, self.took_s = signature, time.monotonic() - began

    def _look_of_files(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Names and sizes of everything that a refresh reads."""
        places = [
            self.attempt.work.records(stage, self.attempt.plan.fingerprints.of(stage))
            for stage in self.columns
        ]
        return [(str(p), _sizes(p)) for p in (*places, self.attempt.paths.result("x").parent)]

    # ------------------------------------------------------------------ answers
    def layer(self, stage: str, z: int) -> Data:
        """The squares of one layer (y, x), in columns of three significant digits.

        Raises
        ------
        KeyError
            No such stage, or none with a map.
        """
        columns = self.columns[stage]
        if columns.grid is None:
            raise KeyError(stage)
        shape = columns.grid.shape
        z = min(max(z, 0), shape[0] - 1)
        factor = _coarsening(shape[1], shape[2])
        groups = squares(shape, z, factor)
        data = {
            "stage": stage, "noun": noun_of(stage), "z": z, "layers": shape[0],
            "first": z * shape[1] * shape[2], "grid": list(shape), "factor": list(factor),
            "shape": [-(-n // f) for n, f in zip(shape[1:], factor, strict=True)],
            "cuts": [list(columns.grid.cuts[0][z : z + 2]),
                     *([*c[:-1:f], c[-1]] for c, f in zip(columns.grid.cuts[1:], factor, strict=True))],
            "version": self._version,
        }  # fmt: skip
        if factor == (1, 1):
            part = slice(z * shape[1] * shape[2], (z + 1) * shape[1] * shape[2])
            return data | {
                "states": columns.states[part].decode(),
                "seconds": [_short(v) for v in columns.seconds[part]],
                "peak_mib": [_mib(v) for v in columns.peak_bytes[part]],
                "labels": [_whole(v) for v in columns.labels[part]],
                "host": list(columns.hosts[part]),
                "run": list(columns.runs[part]),
                "time": [_whole(v) for v in columns.times[part]],
            }
        return data | {
            "states": "".join(worst(columns.states[k] for k in g) for g in groups),
            "seconds": [_short(_mean([columns.seconds[k] for k in g])) for g in groups],
            "peak_mib": [_mib(_most([columns.peak_bytes[k] for k in g])) for g in groups],
            "labels": [_whole(_sum([columns.labels[k] for k in g])) for g in groups],
        }


def _sizes(directory: Path) -> list[tuple[str, int]]:
    return [(n, files.stat_size(directory / n) or 0) for n in sorted(files.listdir(directory))]


def _coarsening(ny: int, nx: int) -> tuple[int, int]:
    """How many blocks along y and x become one square of a layer."""
    factor = [1, 1]
    while -(-ny // factor[0]) * -(-nx // factor[1]) > MAX_SQUARES:
        factor[0 if ny / factor[0] >= nx / factor[1] else 1] *= 2
    return factor[0], factor[1]


def _known(values: list[float]) -> list[float]:
    return [v for v in values if v == v]


def _mean(values: list[float]) -> float:
    known = _known(values)
    return sum(known) / len(known) if known else float("nan")


def _most(values: list[float]) -> float:
    return max(_known(values), default=float("nan"))


def _sum(values: list[float]) -> float:
    known = _known(values)
    return sum(known) if known else float("nan")


def _short(value: float) -> float | None:
    if value != value:
        return None
    return round(value) if value >= 100 else float(f"{value:.3g}")


def _whole(value: float) -> int | None:
    return None if value != value else int(value)


def _mib(value: float) -> int | None:
    return None if value != value else round(value / 2**20)
