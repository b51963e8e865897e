"""What one attempt will do, as plain data: what is frozen in ``plan.json``, and read by each stage.

It holds grid parameters and index ranges, never a list of a million blocks.
`stages.planning.draft` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from typing import Any, Literal

from magneton_tasks import __version__
from magneton_tasks.base.geometry import Box, ceil_div, vec3
from magneton_tasks.base.grid import Grid, Ranges, ranges_len, share
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import BadDataError, OtherVersionError
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.geometry import Geometry, VolumeFacts
from magneton_tasks.plan.stage_table import STAGES, round_of

#: Airflow's scheduler suffers from some 500 mapped tasks on (apache/airflow#45991).
MAX_BATCHES = 256
#: A mapped task costs Airflow half a CPU second: a batch should be worth minutes.
TARGET_BATCH_S = 300.0
#: Seconds until a worker has its libraries (benchmarks/pool.py, start-up).
START_S = 1.7


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def digest(*parts: object) -> str:
    """Short hash of anything that JSON holds; the same on every machine."""
    return blake2b(_encode(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What decides the results of each stage; a stage's includes that of the one before."""

    segment: str
    #: "" where the method has no such stage; so of the others
    count: str
    pool: str
    apply: str
    downsample: str
    faces: str = ""
    #: of all of them
    rounds: str = ""
    cut: str = ""
    #: exact: of the result that an output holds, as ``apply`` isn't
    result: str = ""

    @property
    def of_output(self) -> str:
        """Of the result that an output holds.

        overlap: that of apply. exact: apply's stands for the output, whatever the threshold, so that
        one manifest tells what lies in each cell, and another threshold writes only what differs.
        """
        return self.result or self.apply

    def of(self, stage: str) -> str:
        """Of a stage; one without a field here: of the stage before it, and its name."""
        name = stage if round_of(stage) is None else "rounds"
        if name in self.__slots__:
            return str(getattr(self, name))
        return digest(self.of(STAGES[STAGES.index(stage) - 1]), stage)


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold that a run segments with, and where it is from.

    Attributes
    ----------
    value
        Mean (or quantile) affinity, in [0, 1], down to which regions merge; None: pool takes it from
        the map, and hasn't yet.
    source
        The affinity map itself, the config (its file, or the method's usual one), or what was set
        for this run alone.
    between, inside
        Of one from the map: mean affinity between objects and inside them, in [0, 1].
    warnings
        What is doubtful about one from the map, each with what to do.
    now
        What the map asks for now, where it has changed since; the result keeps ``value``.
    is_guess
        Samples of the map say so, and decide nothing: pool takes the threshold from all of it.
    """

    value: float | None
    source: Literal["map", "config", "run"]
    between: float | None = None
    inside: float | None = None
    warnings: tuple[str, ...] = ()
    now: float | None = None
    is_guess: bool = False

    @property
    def settled(self) -> float | None:
        """The threshold; None while only samples tell it, or nothing."""
        return None if self.is_guess else self.value

    @property
    def number(self) -> float:
        """The value, where it can't be unknown: what is fixed, pool's, or what samples say."""
        assert self.value is not None
        return self.value

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ThresholdChoice:
        """Back from what JSON makes of it."""
        return cls(**{**data, "warnings": tuple(data["warnings"])})


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one mapped stage has to do: indices of blocks or cells, cut into batches."""

    total: int
    todo: Ranges = field(default_factory=list)
    batches: int = 0
    cpu_s: float = 0.0
    #: shares of a batch that run side by side: indexes of a job array; 1 where runners have none
    parts: int = 1

    def batch(self, k: int) -> tuple[int, int]:
        """Positions in ``todo`` that batch ``k`` works."""
        return share(ranges_len(self.todo), k, self.batches)

    def expected_s(self, workers: int) -> float:
        """Wall time to expect, in seconds: the CPU time, shared, and the start of the processes."""
        return self.cpu_s / workers + ceil_div(self.batches, workers) * START_S


@dataclass(frozen=True, slots=True)
class Replaced:
    """A result in the output that apply, with a plan's settings, writes over.

    Attributes
    ----------
    output
        Its URL.
    state
        Whether verify proved it complete; unknown: nothing of its run is left.
    run
        That made it; None: unknown.
    finished_s
        When it was proved complete, in seconds since 1970; None: never, or unknown.
    differs
        Why the new one is another: ``key: before -> now``, or a sentence.
    """

    output: str
    state: Literal["finished", "unfinished", "unknown"]
    run: str | None
    finished_s: float | None
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt, frozen: what the stages read."""

    version: str
    run: str
    attempt: int
    created: float
    config_path: str
    partition: str | None
    restart: bool
    stages: tuple[str, ...]
    volume: VolumeFacts
    input_digest: str
    geometry: Geometry
    fingerprints: Fingerprints
    #: kernels take it from here: config.yaml may hold null, which is *from the map*
    threshold: ThresholdChoice
    work: Mapping[str, StagePlan]
    memory: Mapping[str, Memory]
    memory_limit: int
    workers: int
    files: int
    output_bytes: int
    label_bytes: int
    notes: tuple[str, ...] = ()
    #: values given over those of the YAML file, by dotted key
    overrides: Mapping[str, object] = field(default_factory=dict)
    #: directories under which paths from a form must lie; None: nothing came from a form
    roots: tuple[str, ...] | None = None
    #: what the output holds that isn't this plan's result; None: nothing is lost
    replaces: Replaced | None = None

    @property
    def nothing_to_do(self) -> bool:
        return not any(s.batches for s in self.work.values())

    @property
    def expected_s(self) -> float:
        """Wall time to expect of what is to do, in seconds; of verify, the start of its process."""
        works = [w for w in self.work.values() if w.batches]
        return START_S + sum(w.expected_s(self.workers) for w in works)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the attempt") -> Plan:
        """Read back what `to_json` wrote.

        Raises
        ------
        OtherVersionError
            Another version of Magneton wrote it; ``where`` is named.
        BadDataError
            It holds no plan.
        """
        try:
            data = json_object(text)
        except ValueError as error:
            raise _no_plan(where, error) from error
        # Versions come first: those of others hold other keys.
        version = data.get("version")
        if version != __version__:
            raise OtherVersionError(
                f"{where} was planned by Magneton {version}; this is {__version__}",
                f"if that is a compute node or a container, install Magneton {version} there, because a "
                "rerun fails in the same way; else clear the task plan (or rerun) to plan it again",
                str(version),
            )
        try:
            return _build(cls, data)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise _no_plan(where, error) from error


def _no_plan(where: str, error: Exception) -> BadDataError:
    return BadDataError(
        f"plan.json of {where} holds no plan: {type(error).__name__}: {error}",
        "clear the task plan (or rerun) to plan it again",
    )


def _build(cls: type[Plan], data: dict[str, Any]) -> Plan:
    data = {f.name: data[f.name] for f in fields(cls) if f.name in data}
    data["volume"] = _volume(data["volume"])
    geometry = data["geometry"]
    for name in ("grid", "cells", "coarse_cells"):
        if geometry[name] is not None:
            geometry[name] = _grid(geometry[name])
    geometry["factors"] = tuple(vec3(f) for f in geometry["factors"])
    data["geometry"] = Geometry(**geometry)
    data["fingerprints"] = Fingerprints(**data["fingerprints"])
    data["threshold"] = ThresholdChoice.from_data(data["threshold"])
    for stage in data["work"].values():
        stage["todo"] = [(b, e) for b, e in stage["todo"]]
    data["work"] = {k: StagePlan(**v) for k, v in data["work"].items()}
    data["memory"] = {k: Memory(**v) for k, v in data["memory"].items()}
    if data.get("replaces"):
        found = data["replaces"]
        data["replaces"] = Replaced(**found | {"differs": tuple(found["differs"])})
    data["stages"], data["notes"] = tuple(data["stages"]), tuple(data["notes"])
    return cls(**data)


def _grid(data: dict[str, Any]) -> Grid:
    z, y, x = (tuple(c) for c in data["cuts"])
    return Grid((z, y, x), vec3(data["halo_low"]), vec3(data["halo_high"]))


def _volume(data: dict[str, Any]) -> VolumeFacts:
    box = Box(vec3(data["box"]["begin"]), vec3(data["box"]["end"]))
    z, y, x = data["voxel_size_nm"]
    return VolumeFacts(box, (z, y, x), vec3(data["chunk_size"]), data["dtype"], data["channels"])


def make_stage(total: int, todo: Ranges, cpu_s: float, workers: int) -> StagePlan:
    """Cut what is to do into batches of some minutes: at least one per worker while there are enough
    blocks, at most `MAX_BATCHES`.
    """
    n = ranges_len(todo)
    wanted = max(workers, round(cpu_s / TARGET_BATCH_S))
    return StagePlan(total, todo, min(n, wanted, MAX_BATCHES), cpu_s)
