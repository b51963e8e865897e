"""The options for a cluster: run there, or what is missing, and which lines would change that."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from magneton_tasks.cli.console import say
from magneton_tasks.cli.menu import stage
from magneton_tasks.cli.menu.stage import StageOption
from magneton_tasks.cli.menu.volumes import MenuVolume
from magneton_tasks.cli.run import here as running
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import MagnetonError
from magneton_tasks.plan.plan import Plan
from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest

#: Of the example: cores of one node, and where no plan tells, memory (GiB) of each and hours.
_CORES, _GIB_A_CORE, _HOURS = 16, 4, 12


def dialog(console: Console, volume: MenuVolume, option: StageOption, number: str) -> None:
    """Run on Slurm where it's configured; else say what is missing, and what works today."""
    assert volume.config is not None
    lacking = list(missing(volume.config, volume.path))
    if not lacking:
        stage.dialog(console, volume, option, number, "slurm")
        return
    say(console, "This can't run on a cluster yet. What is missing:")
    for what in lacking:
        say(console, f"  - {what}")
    say(console, "")
    say(console, f"Lines of {volume.path} that would change that:")
    say(console, "  runner: {offered: [local, slurm], default: slurm}")
    say(console, "  slurm: {slurm_partition: null, account: null}   # null: the cluster's default")
    say(console, "")
    say(console, "Without them, you can use the local runner inside one allocation, for example")
    try:
        plan = draft.draft(_request(volume, option), write=False).plan
        say(console, f"  {allocation(volume, option, plan)}")
    except MagnetonError as error:
        say(console, f"  {allocation(volume, option, None)}")
        say(console, f"(memory and time are a guess, because plan refuses this step: {error.what})")


def missing(config: RunConfig, path: Path) -> Iterator[str]:
    """What a run on Slurm lacks, a clause each."""
    if config.slurm.host is None and shutil.which("sbatch") is None:
        yield (
            "sbatch is not on the PATH of this machine: work on a login node of the cluster, "
            "or give one as slurm.host"
        )
    offered = tuple(map(str, config.runner.offered))
    if "slurm" not in offered:
        yield f"runner.offered in {path} is [{', '.join(offered)}], without slurm"


def _request(volume: MenuVolume, option: StageOption) -> PlanRequest:
    return running.new_request(
        volume.path, {}, partition=volume.partition, stages=option.choices, workers=_CORES
    )


def allocation(volume: MenuVolume, option: StageOption, plan: Plan | None) -> str:
    """An ``sbatch`` line that runs these stages in one job of one node."""
    memory_gib, hours = _GIB_A_CORE * _CORES, _HOURS
    if plan is not None:
        memory_gib = math.ceil(plan.memory_limit * _CORES * 1.1 / 2**30)
        hours = 1 + math.ceil(2 * plan.expected_s / 3600)  # a node may be half as fast
    command = [
        "magneton", "run", str(volume.path), "--stages", ",".join(option.choices), "--workers",
        str(_CORES),
    ]  # fmt: skip
    if volume.partition is not None:
        command += ["--partition", volume.partition]
    return (
        f"sbatch --nodes=1 --ntasks=1 --cpus-per-task={_CORES} --mem={memory_gib}G "
        f"--time={hours}:00:00 --wrap {shlex.quote(shlex.join(command))}"
    )
