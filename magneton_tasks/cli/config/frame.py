"""What a new config says of a map whose metadata doesn't: its axes, voxel size and voxel offset."""

from __future__ import annotations

import click

from magneton_tasks.cli.config.answers import Answers, Ask
from magneton_tasks.formats.given import is_size_known, likely_axes, of_config
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.metadata import read_metadata


def ask_axes(answers: Answers, ask: Ask, info: VolumeInfo) -> VolumeInfo:
    """Ask which axis is which, where no metadata names them; returns the volume as answered."""
    if not info.axes_assumed:
        return info
    likely = likely_axes(info)
    why = "its metadata names no axes"
    if likely != info.axes:
        click.echo(f"  {why}; by its shape, the channels come last")
    answers.ask(ask, "input.axes", "Axes as they are stored (c: channels)", likely, why)
    if answers.values["input.axes"] == info.axes:
        del answers.values["input.axes"]  # it says nothing that the comment doesn't
        return info
    return _again(answers, info)


def ask_place(answers: Answers, ask: Ask, info: VolumeInfo) -> VolumeInfo:
    """Ask for voxel size and voxel offset, where no metadata knows them."""
    if is_size_known(info):
        return info
    for key, question in (
        ("input.voxel_size_nm", "Voxel size in nm, [z, y, x] (null: not known, 1 nm is assumed)"),
        ("input.voxel_offset", "Voxel offset, [z, y, x] (null: 0)"),
    ):
        answers.ask(ask, key, question, None)
        if answers.values[key] is None:
            del answers.values[key]
    return _again(answers, info)


def _again(answers: Answers, info: VolumeInfo) -> VolumeInfo:
    return read_metadata(info.url, info.mip, of_config(answers.trial()))
