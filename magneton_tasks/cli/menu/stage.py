"""Before, while and after a stage runs: plan, questions, parameters, the run itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import click
from rich.console import Console

from magneton_tasks.base.units import several
from magneton_tasks.cli.config import parameter_dialog, parameters
from magneton_tasks.cli.console import confirm, say
from magneton_tasks.cli.menu.asking import choose
from magneton_tasks.cli.menu.volumes import MenuVolume
from magneton_tasks.cli.run import here as running
from magneton_tasks.cli.run import planning
from magneton_tasks.errors import EXIT_OK, MagnetonError
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import CHOICE_OF, CHOICES
from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest


@dataclass(frozen=True)
class StageOption:
    """What an option of the menu runs.

    Attributes
    ----------
    choices
        Of ``--stages``.
    sections
        Sections, or keys, of the parameters that matter to it.
    next
        What to do once it's done.
    """

    choices: tuple[str, ...]
    sections: tuple[str, ...]
    next: str


SEGMENT = StageOption(
    ("segment",),
    ("input", "box", "mask", "method", "block", "segment", "exact", "local"),
    "Next: blocks merging, pools (option 3).",
)
POOL = StageOption(
    ("pool",),
    ("pool", "segment.min_size_vox", "local"),
    "Next: blocks merging, apply (option 5).",
)
APPLY = StageOption(
    ("apply",),
    ("apply", "mesh", "skeleton", "local"),
    "To look at it: option v, or  magneton view {config}",
)
ALL = StageOption(
    CHOICES,
    (
        "input",
        "box",
        "mask",
        "method",
        "block",
        "segment",
        "exact",
        "pool",
        "apply",
        "mesh",
        "skeleton",
        "local",
    ),
    APPLY.next,
)

#: What matters on a cluster in place of `local`.
_ON_SLURM = (
    "slurm.slurm_partition", "slurm.account", "slurm.time", "slurm.memory", "slurm.max_memory",
    "slurm.max_running", "slurm.max_queued", "slurm.target_minutes",
)  # fmt: skip


@dataclass
class _Asked:
    """What a person has decided so far; overrides are for this run."""

    volume: MenuVolume
    option: StageOption
    runner: str | None
    overrides: dict[str, object] = field(default_factory=dict)

    def request(self, *, restart: bool = False) -> PlanRequest:
        sets = dict(self.overrides)
        if self.runner is not None:
            sets["runner.default"] = self.runner
        return running.new_request(
            self.volume.path,
            sets,
            partition=self.volume.partition,
            stages=self.option.choices,
            restart=restart,
        )


def dialog(
    console: Console,
    volume: MenuVolume,
    option: StageOption,
    number: str,
    runner: str | None = None,
) -> None:
    """Show the plan, ask, and run.

    Parameters
    ----------
    number
        Of the option in the menu, for the words on how to go on.
    runner
        None: the config's own.

    Raises
    ------
    Quit
        A question was answered with q: nothing was written.
    MagnetonError
        The run was refused.
    """
    asked = _Asked(volume, option, runner)
    while True:
        plan = _shown_plan(console, asked)
        if plan is None:
            if not confirm("Change parameters?", default=False):
                return
            _change(console, asked)
            continue
        restart = _asks_restart(console, plan, option)
        answer = choose(
            "Start (s), or change parameters first (p)?", ("s", "p"), "s, p, or q to leave", "s"
        )
        if answer == "s":
            break
        _change(console, asked)
    _run(console, asked, restart, number)


def _shown_plan(console: Console, asked: _Asked) -> Plan | None:
    """Draft the plan and show it; None, and why, where it's refused."""
    _show_volume(console, asked.volume)
    try:
        drafted = draft.draft(asked.request(), write=False)
    except MagnetonError as error:
        say(console, f"error: {error}", "red")
        if "segment" not in asked.option.choices:
            say(console, "The steps build on each other: 1 or 2, then 3 or 4, then 5 or 6.")
        return None
    for line in planning.describe(drafted.plan, drafted.samples):
        say(console, line)
    return drafted.plan


def _show_volume(console: Console, volume: MenuVolume) -> None:
    assert volume.config is not None
    paths = volume.config.paths
    for name, value in (("config", volume.path), ("input", paths.input), ("output", paths.output)):
        say(console, f"{name:<9} {value}")
    say(console, "planning ...", "dim")


def settled(plan: Plan, choices: Collection[str]) -> tuple[int, int]:
    """Blocks, cells and pools of chosen stages that are done, and how many there are."""
    stages = [s for s, work in plan.work.items() if work.total and CHOICE_OF[s] in choices]
    summaries = [StageSummary.planned(plan, stage) for stage in stages]
    return sum(s.found for s in summaries), sum(s.total for s in summaries)


def _asks_restart(console: Console, plan: Plan, option: StageOption) -> bool:
    """Whether to do anew what is done; nobody is asked where nothing is."""
    done, total = settled(plan, option.choices)
    if not done:
        return False
    noun = {SEGMENT: "block", APPLY: "cell"}.get(option, "part")
    say(console, f"{done:,} of {several(total, noun)} done already:")
    resume = "resume: do the rest" if done < total else "keep them: check that all is complete"
    say(console, f"  1  {resume}")
    say(console, f"  2  restart: do all {total:,} again")
    return choose("1 or 2", ("1", "2"), "1, 2, or q to leave", "1") == "2"


def _change(console: Console, asked: _Asked) -> None:
    """The table of parameters; the changes are this run's unless they're saved."""
    path = asked.volume.path
    sections = asked.option.sections
    config = asked.volume.config
    if asked.option is POOL and config is not None and config.method == "exact":
        sections = (*sections, "segment.threshold")  # another cut; overlap's blocks depend on it
    if asked.runner == "slurm":
        sections = (*(s for s in sections if s != "local"), *_ON_SLURM)
    changed = parameter_dialog.edit_table(path, asked.overrides, sections)
    if changed == asked.overrides:
        return
    asked.overrides = changed
    if confirm(f"Save the changes in {path}?", default=False):
        from magneton_tasks.config.edit import set_values  # ruamel.yaml is of use here alone

        set_values(path, asked.overrides)
        asked.overrides = {}
        asked.volume = asked.volume.reloaded()
        say(console, f"saved in {path}")
    else:
        say(console, "The changes apply to this run only. The next step reads the file.")


def _run(console: Console, asked: _Asked, restart: bool, number: str) -> None:
    """Run, and say how to go on where it stops."""
    try:
        # the plan that was shown is another one than that of a restart
        code = running.perform(
            asked.request(restart=restart), f"choose option {number} again", show_plan=restart
        )
        if code == EXIT_OK:
            say(console, asked.option.next.format(config=asked.volume.path))
    except KeyboardInterrupt:
        click.echo()
        say(console, "stopped; finished work stays", "bold")
        say(console, f"To continue: choose option {number} again, and resume.")
        if asked.overrides:
            sets = ", ".join(f"{k}: {parameters.shown(k, v)}" for k, v in asked.overrides.items())
            say(console, f"Give it the same changes: {sets}.")
