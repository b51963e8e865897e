"""How a new config's map is to be read: the convention of its channels, asked with a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from magneton_tasks.base.units import several
from magneton_tasks.cli import console
from magneton_tasks.cli.config.answers import Answers, Ask
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.given import of_config
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.runners.warming import ensure_warm

if TYPE_CHECKING:
    from magneton_tasks.stages.planning.sampling import Samples
    from magneton_tasks.trials.propose import Proposal

_ASKED = "omit --yes to be asked, with a picture"


def ask_convention(
    answers: Answers, ask: Ask, info: VolumeInfo, picture: Path, yes: bool
) -> Samples:
    """Ask how the map is to be read, with a picture; returns what plan's samples say of it then."""
    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.stages.planning.sampling import sample
    from magneton_tasks.trials import propose, propose_picture

    click.echo("reading boxes in several places of the map ...")
    given = of_config(answers.trial())
    samples = propose.read_samples(open_volume(info.url, info.mip, given))
    proposal = propose.propose_convention([s for _, s in samples], info.dtype)
    click.echo(f"looked at {several(len(samples), 'place')}:")
    for reason in proposal.reasons:
        click.echo(f"  {reason}")
    if yes and proposal.unclear:
        raise BadDataError(
            f"{info.url} doesn't tell how it is to be read: {'. '.join(proposal.unclear)}",
            _ASKED,
        )
    box = propose_picture.shown_box(info.box, samples[0][0])
    picture.write_bytes(propose_picture.draw(info.url, info.mip, box, proposal, given))
    if not yes:
        click.echo(f"  picture: {picture}")
        click.echo("  (it shows the proposed way to read the map beside wrong ones)")
    while True:
        _ask_keys(answers, ask, proposal)
        ensure_warm(click.echo)  # or this process would compile for itself, in silence
        click.echo("measuring how dense the map is ...")
        try:
            told = sample(answers.trial(), info.box, info.digest, None)
        except BadDataError as error:  # values outside [0, 1]: another scale was meant
            if yes:
                raise
            click.echo(f"  {error}")
            continue
        if _is_believed(answers, info, told, yes):
            return told


def _is_believed(answers: Answers, info: VolumeInfo, samples: Samples, yes: bool) -> bool:
    """Whether nothing speaks against the map as it is read, or a person says that it is right."""
    from magneton_tasks.stages.planning import doubtful

    found = doubtful.doubts(answers.trial(), samples)
    if not found:
        return True
    if yes:
        raise doubtful.error_for(info.url, found, _ASKED)
    for doubt in found:
        click.echo(f"  DOUBT: {doubt}")
    if not console.confirm("Is the map right all the same, as it is read now?", False):
        return False
    answers.set(doubtful.KEY, "warn", "looked at, and right")
    return True


def _ask_keys(answers: Answers, ask: Ask, proposal: Proposal) -> None:
    best = proposal.best.convention
    told, open_ = "told from the data", "NOT told from the data: please check"
    clear = told if proposal.decided else open_
    inversion = told if proposal.inversion_decided else open_
    channels = best.channels_setting(proposal.stored)
    answers.ask(ask, "input.channels", "Which channel is which axis", channels, clear)
    answers.ask(
        ask,
        "input.offset_sign",
        "Offset sign: -1 joins v and v - e, 1 joins v and v + e",
        best.offset_sign,
        clear,
    )
    answers.ask(ask, "input.invert", "Inverted: high is a border", best.invert, inversion)
    answers.ask(
        ask,
        "input.scale",
        "Stored value that means affinity 1 (null: that of the data type)",
        best.scale,
    )
    if answers.values["input.scale"] is None:
        del answers.values["input.scale"]  # it says nothing that the comment doesn't
