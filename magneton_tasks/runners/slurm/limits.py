"""What a Slurm cluster allows, and which of its nodes work."""

from __future__ import annotations

import re
from collections.abc import Sequence

from magneton_tasks.config.slurm import Slurm as Settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.scheduler import Limits
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.states import parse_elapsed

#: What Slurm takes where its configuration says nothing.
DEFAULT_MAX_ARRAY = 1001
_FIELD = re.compile(r"(\w+)\s*=\s*(\S+)")
_MIB = 2**20
#: sinfo's short words for nodes that run jobs, or will: also where a mark says that they are off to
#: save power, or planned for a job. Any other mark (``idle*``: no answer) says that none does.
_WORKING = frozenset({"idle", "mix", "alloc", "comp", "plnd", "resv"})
_STILL_WORKING = "~#-+"


def ask(slurm: Slurm, settings: Settings) -> Limits:
    """Ask the cluster: three queries.

    Raises
    ------
    BusyError
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
    BusyError
        It doesn't answer.
    """
    command = ("sinfo", "--noheader", "--Node", f"--partition={partition}", "--format=%N|%t")
    answer = slurm.run(command)
    rows = [line.strip().split("|") for line in answer.out.splitlines() if "|" in line]
    return {node for node, state in rows if state.rstrip(_STILL_WORKING) in _WORKING}


def _asked(slurm: Slurm, arguments: Sequence[str]) -> str:
    answer = slurm.run(arguments)
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
