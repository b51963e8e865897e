"""What a cluster allows: asked once in plan, so that nothing is refused in the middle of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.slurm.programs import Answer, Slurm
from magneton_tasks.runners.slurm.states import parse_elapsed
from magneton_tasks.work.paths import AttemptPaths

#: What Slurm takes where its configuration says nothing.
DEFAULT_MAX_ARRAY = 1001
#: Little work is still spread over this many jobs: one that fails then costs less.
_SPREAD = 4
_FIELD = re.compile(r"(\w+)\s*=\s*(\S+)")
_MIB = 2**20
#: sinfo's short words for nodes that run jobs, or will: also where a mark says that they are off to
#: save power, or planned for a job. Any other mark (``idle*``: no answer) says that none does.
_WORKING = frozenset({"idle", "mix", "alloc", "comp", "plnd", "resv"})
_STILL_WORKING = "~#-+"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a partition; None: no limit.

    Attributes
    ----------
    max_array
        Indexes of an array go up to one less.
    node_bytes
        The most memory that a job of one node may have.
    """

    partition: str
    max_array: int
    max_time_s: int | None
    node_bytes: int
    node_cpus: int


def ask(slurm: Slurm, settings: Settings) -> Limits:
    """Ask the cluster: three queries.

    Raises
    ------
    SlurmBusyError
        It doesn't answer.
    ConfigError
        It has no such partition, or the programs aren't here.
    """
    config = _asked(slurm, ("scontrol", "show", "config"))
    partitions = _asked(slurm, ("scontrol", "--oneliner", "show", "partition"))
    partition = choose(partitions, settings.slurm_partition)
    nodes = _asked(
        slurm,
        (
            "sinfo",
            "--noheader",
            "--exact",
            f"--partition={partition['PartitionName']}",
            "--format=%m|%c",
        ),
    )
    return parse(config, partition, nodes)


def working_nodes(slurm: Slurm, partition: str) -> set[str]:
    """Names of a partition's nodes that take jobs now.

    Raises
    ------
    SlurmBusyError
        It doesn't answer.
    """
    command = ("sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%N|%t")
    answer = slurm.run(command)
    rows = [line.strip().split("|") for line in answer.out.splitlines() if "|" in line]
    return {node for node, state in rows if state.rstrip(_STILL_WORKING) in _WORKING}


def _asked(slurm: Slurm, arguments: Sequence[str]) -> str:
    answer: Answer = slurm.run(arguments)
    if answer.code != 0:
        raise ConfigError(
            f"{' '.join(arguments[:3])} failed: {answer.err.strip()}",
            "is this a cluster's login node?",
        )
    return answer.out


def choose(partitions: str, wanted: str | None) -> dict[str, str]:
    """The fields of the partition wanted; None: of Slurm's default."""
    found = [dict(_FIELD.findall(line)) for line in partitions.splitlines()]
    named = {p["PartitionName"]: p for p in found if "PartitionName" in p}
    if wanted is None:
        default = [p for p in named.values() if p.get("Default") == "YES"]
        if not default:
            raise ConfigError(
                "the cluster has no default partition",
                f"set slurm.slurm_partition, to one of {', '.join(named)}",
            )
        return default[0]
    names = wanted.split(",")
    missing = [n for n in names if n not in named]
    if missing:
        raise ConfigError(
            f"slurm.slurm_partition: the cluster has no partition {missing[0]}",
            f"it has {', '.join(named)}",
        )
    return named[names[0]]


def parse(config: str, partition: dict[str, str], nodes: str) -> Limits:
    """Limits of the programs' outputs."""
    settings = dict(_FIELD.findall(config))
    max_array = int(settings.get("MaxArraySize", "") or DEFAULT_MAX_ARRAY)
    max_jobs = settings.get("MaxJobCount", "")
    if max_jobs.isdigit():
        max_array = min(max_array, int(max_jobs))
    sizes = [line.strip().split("|") for line in nodes.splitlines() if "|" in line]
    memories = [int(m.rstrip("+")) for m, _ in sizes if m.rstrip("+").isdigit()]
    cpus = [int(c.rstrip("+")) for _, c in sizes if c.rstrip("+").isdigit()]
    largest = max(memories, default=0) * _MIB
    most = partition.get("MaxMemPerNode", "")
    if most.isdigit() and int(most) > 0:
        largest = min(largest or int(most) * _MIB, int(most) * _MIB)
    return Limits(
        partition["PartitionName"],
        max_array,
        parse_elapsed(partition.get("MaxTime", "")) or None,
        largest,
        max(cpus, default=0),
    )


def check(limits: Limits, settings: Settings) -> None:
    """Refuse time, memory and CPUs that the partition doesn't give.

    Raises
    ------
    ConfigError
        A job would be refused, or wait for ever.
    """
    of = f"of partition {limits.partition}"
    for key, seconds in (("time", settings.time_s), ("max_time", settings.max_time_s)):
        if seconds is not None and limits.max_time_s is not None and seconds > limits.max_time_s:
            raise ConfigError(
                f"slurm.{key} is {human_time(seconds)}, more than the limit {of} ({human_time(limits.max_time_s)})",
                "lower it, or take another slurm.slurm_partition",
            )
    for key, size in (("memory", settings.memory), ("max_memory", settings.max_memory)):
        if size is not None and limits.node_bytes and size > limits.node_bytes:
            raise ConfigError(
                f"slurm.{key} is {human_bytes(size)}, more than a node {of} has ({human_bytes(limits.node_bytes)})",
                "lower it, or take another slurm.slurm_partition",
            )
    if limits.node_cpus and settings.cpus > limits.node_cpus:
        raise ConfigError(
            f"slurm.cpus is {settings.cpus}, more than a node {of} has ({limits.node_cpus})",
            "lower it, or take another slurm.slurm_partition",
        )


def longest_s(limits: Limits, settings: Settings) -> int | None:
    """The most time that a later try may get, in seconds; None: there is no limit."""
    return settings.max_time_s if settings.max_time_s is not None else limits.max_time_s


# ------------------------------------------------------------------ kept in the attempt
def write(attempt: Path, limits: Limits) -> None:
    """Keep what the cluster allows in the attempt."""
    path = _path(attempt)
    files.make_directory(path.parent)
    files.write_atomic(path, json.dumps(asdict(limits)).encode())


def read(attempt: Path) -> Limits | None:
    """What `write` wrote; None: nothing."""
    try:
        return Limits(**json.loads(_path(attempt).read_text()))
    except FileNotFoundError:
        return None


def _path(attempt: Path) -> Path:
    return AttemptPaths(attempt).jobs / "limits.json"


# ------------------------------------------------------------------ batches
def cut(blocks: int, cpu_s: float, settings: Settings, max_array: int) -> tuple[int, int]:
    """Batches (arrays) of a stage, and parts (indexes) of each.

    A part works ``target_minutes``, one block at least; an array has as many as Slurm and
    ``max_queued`` allow.
    """
    if not blocks:
        return 0, 1
    parts = min(max(round(cpu_s / (settings.target_minutes * 60)), min(blocks, _SPREAD)), blocks)
    batches = -(-parts // min(max_array, settings.max_queued))
    return batches, -(-parts // batches)
