"""What one attempt will do, as plain data: what is frozen in ``plan.json``, and read by each stage.

It holds grid parameters and index ranges, never a list of a million blocks.
`stages.planning.draft` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any, Literal

from magneton_tasks import __version__
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.errors import BadDataError, OtherVersionError
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.place_threshold import PlaceThreshold
from magneton_tasks.plan.replaced import Replaced
from magneton_tasks.plan.stage_plan import START_S, StagePlan
from magneton_tasks.plan.stage_table import STAGES, round_of
from magneton_tasks.plan.volume_facts import VolumeFacts

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
    #: of cells of objects, and of shards of them; "" where the config asks for none
    mesh: str = ""
    mesh_shards: str = ""
    skeleton: str = ""
    skeleton_shards: str = ""

    @property
    def of_output(self) -> str:
        """Of the result that an output holds.

        overlap: that of apply. exact: apply's stands for the output, whatever the threshold, so that
        one manifest tells what lies in each cell, and another threshold writes only what differs.
        """
        return self.result or self.apply

    def of(self, stage: str) -> str:
        """Of a stage; one without a field here: of the last stage before it that there is, and its name."""
        name = stage if round_of(stage) is None else "rounds"
        if name in self.__slots__:
            return str(getattr(self, name))
        before = map(self.of, reversed(STAGES[: STAGES.index(stage)]))
        return digest(next(filter(None, before)), stage)


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold that a run segments with, and where it is from.

    Attributes
    ----------
    value
        Affinity, in [0, 1], down to which regions merge; None: pool hasn't taken it from the map yet.
    source
        The affinity map, the config (its file, or the method's usual one), or set for this run alone.
    between, inside
        Of one from the map: mean affinity between objects and inside them, in [0, 1].
    warnings
        What is doubtful about one from the map, each with what to do.
    now
        What the map asks for now, where it has changed since; the result keeps ``value``.
    is_guess
        Samples of the map say so, and decide nothing: pool takes the threshold from all of it.
    places
        Of one from the map: what parts of it ask for.
    """

    value: float | None
    source: Literal["map", "config", "run"]
    between: float | None = None
    inside: float | None = None
    warnings: tuple[str, ...] = ()
    now: float | None = None
    is_guess: bool = False
    places: tuple[PlaceThreshold, ...] = ()

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
        places = tuple(PlaceThreshold(**place) for place in data["places"])
        return cls(**{**data, "warnings": tuple(data["warnings"]), "places": places})


@dataclass(frozen=True, slots=True)
class Cut:
    """What one of several thresholds of an attempt has for itself; ``work``: from pool on."""

    threshold: ThresholdChoice
    fingerprints: Fingerprints
    work: Mapping[str, StagePlan]
    replaces: Replaced | None = None

    @property
    def name(self) -> str:
        """As ``{threshold}`` in the output's path has it."""
        return text_of(self.threshold.number)


@dataclass(frozen=True, slots=True)
class Plan:
    """One attempt, frozen: what the stages read.

    Attributes
    ----------
    cuts
        Of several thresholds, the lowest first; none of a single one. Then ``work`` of pool and the
        stages after it is that of all of them, one after the other, and ``threshold`` and
        ``fingerprints`` are those of the first; `at` tells of each.
    overwrite_output
        The run may replace what belongs to somebody else: pool reads it, where plan couldn't know yet
        where the output lies.
    """

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
    cuts: tuple[Cut, ...] = ()
    overwrite_output: bool = False
    #: Airflow maps over batches: few blocks are a task each
    by_block: bool = False

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of `cuts`."""
        return tuple(cut.threshold.number for cut in self.cuts)

    def at(self, number: int) -> Plan:
        """The plan of one of `cuts`, as if it were the only one."""
        cut = self.cuts[number]
        return replace(
            self,
            threshold=cut.threshold,
            fingerprints=cut.fingerprints,
            work={**self.work, **cut.work},
            replaces=cut.replaces,
            overrides={**self.overrides, "segment.threshold": cut.threshold.value},
            cuts=(),
        )

    def each(self) -> tuple[Plan, ...]:
        """The plan of each threshold: itself where there is but one."""
        return tuple(self.at(number) for number in range(len(self.cuts))) or (self,)

    @property
    def is_of_dag(self) -> bool:
        """Whether a DAG's task planned it, so that Airflow runs its stages."""
        return self.roots is not None

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
    data["volume"] = VolumeFacts.from_data(data["volume"])
    data["geometry"] = Geometry.from_data(data["geometry"])
    data["memory"] = {k: Memory(**v) for k, v in data["memory"].items()}
    data["cuts"] = tuple(Cut(**_at_a_threshold(cut)) for cut in data.get("cuts", ()))
    data |= _at_a_threshold(data)
    data["stages"], data["notes"] = tuple(data["stages"]), tuple(data["notes"])
    return cls(**data)


def _at_a_threshold(data: dict[str, Any]) -> dict[str, Any]:
    """What a plan holds, and each of several cuts for itself."""
    work = data["work"].items()
    return {
        "threshold": ThresholdChoice.from_data(data["threshold"]),
        "fingerprints": Fingerprints(**data["fingerprints"]),
        "work": {s: StagePlan(**w | {"todo": [(b, e) for b, e in w["todo"]]}) for s, w in work},
        "replaces": Replaced.from_data(data.get("replaces")),
    }
