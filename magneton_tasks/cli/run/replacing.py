"""What people are told, and asked, before a run writes over a result that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import click

from magneton_tasks.base.units import human_moment
from magneton_tasks.cli.console import Quit, confirm, is_interactive
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.replaced import Replaced
from magneton_tasks.stages.planning.draft import Draft

#: Settings that are told one by one.
_TOLD = 12


def describe(plan: Plan) -> Iterator[str]:
    """Lines of a plan on the results in the outputs that it replaces; none where it replaces none."""
    for found in replaced_by(plan):
        if "apply" in plan.stages:
            yield from lines(found)
        else:
            yield f"later     apply, with these settings, will replace {_what(found)}"
            yield from _differences(found)


def replaced_by(plan: Plan) -> list[Replaced]:
    """The results that a plan replaces: of several thresholds one each."""
    return [each.replaces for each in plan.each() if each.replaces is not None]


def lines(found: Replaced) -> Iterator[str]:
    """What is replaced, why, and how to keep it."""
    yield f"REPLACES  {_what(found)}"
    yield from _differences(found)


def _what(found: Replaced) -> str:
    state = {"finished": "the finished result", "unfinished": "an unfinished result"}
    text = f"{state.get(found.state, 'the result')} in {found.output}"
    if found.finished_s is not None:
        text += f", complete since {human_moment(found.finished_s)}"
    return text + (f", of run {found.run}" if found.run else "")


def _differences(found: Replaced) -> Iterator[str]:
    for line in found.differs[:_TOLD]:
        yield f"          {line}"
    if len(found.differs) > _TOLD:
        yield f"          and {len(found.differs) - _TOLD} more"
    yield "          to keep it: give this run another paths.output"


@dataclass(frozen=True)
class Agreement:
    """Shows a plan, and asks before it replaces a finished result.

    Attributes
    ----------
    show
        Print the plan; False: whoever runs has just seen it.
    yes
        Don't ask.
    lines
        A plan as lines for people.
    """

    show: bool
    yes: bool
    lines: Callable[[Draft], Iterator[str]]

    @property
    def may_ask(self) -> bool:
        return not self.yes and is_interactive()

    def __call__(self, drafted: Draft) -> None:
        """Print and ask.

        Raises
        ------
        Quit
            The result is to stay.
        """
        for line in self.lines(drafted) if self.show else describe(drafted.plan):
            click.echo(line)
        if "apply" in drafted.plan.stages:
            self.ask(replaced_by(drafted.plan))

    def ask(self, several: Sequence[Replaced]) -> None:
        """Ask whether to replace results; who doesn't answer, or isn't there to, keeps or replaces them.

        Without a terminal the run goes on: its plan says what it replaces.

        Raises
        ------
        Quit
            The result is to stay.
        """
        asked = [found for found in several if found.state != "unfinished"]
        if not asked or not self.may_ask:
            return
        if not confirm(f"Replace {'it' if len(asked) == 1 else 'them'}?", default=False):
            raise Quit
