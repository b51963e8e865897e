"""``magneton config new``: from an affinity map to a config that fits it, by questions.

What can be found out is found out: the levels of the volume, the convention of its channels (with
a picture), sizes that fit this machine. Each answer has a proposal; nothing is written before the
last question is answered.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from magneton_tasks.base import files
from magneton_tasks.base.extras import MESHING, missing
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.location import locate
from magneton_tasks.cli import console
from magneton_tasks.cli.config import places, sizes
from magneton_tasks.cli.config.answers import Answers, Ask, confirm, proposals, questions
from magneton_tasks.cli.config.convention import ask_convention
from magneton_tasks.cli.config.frame import ask_axes, ask_place
from magneton_tasks.cli.config.levels import described, levels_of
from magneton_tasks.config.mesh import Mesh
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import MagnetonError, UsageError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.stages.planning.request import PlanRequest

#: The method that is proposed.
DEFAULT_METHOD = "exact"
#: Edges of the box that `magneton try` is proposed for, zyx.
_TRY_BOX: Vec3 = (64, 256, 256)


def new(
    config: Path,
    *,
    input_url: str | None,
    output: str | None,
    work: str | None,
    mip: int | None,
    method: str | None = None,
    yes: bool,
) -> None:
    """Make a volume config by questions, or with ``yes`` from the proposals alone.

    Raises
    ------
    UsageError
        Nobody can be asked, or ``yes`` without an input, or something lies there already.
    MagnetonError
        The volume can't be read or used, or plan refuses what was answered. Nothing is written.
    """
    if yes and input_url is None:
        raise UsageError("--yes needs --input", "magneton config new volume.yaml --input URL --yes")
    if not yes:
        console.require_terminal(
            "take all proposals: magneton config new volume.yaml --input URL --yes"
        )
        click.echo("Enter accepts the value in brackets. q leaves without writing anything.")
    ask = proposals if yes else questions
    _check_target(config, yes)
    answers = Answers()
    info = _input(answers, ask, input_url, mip)
    _method(answers, ask, method)
    with tempfile.TemporaryDirectory(prefix="magneton-new-") as private:
        picture = Path(private) / _picture_path(config).name
        samples = ask_convention(answers, ask, info, picture, yes)
        sizes.ask_block(answers, ask, info, samples)
        _paths(answers, ask, config, output, work)
        sizes.ask_chunk(answers, ask, info)
        if not missing(
            MESHING
        ):  # where they can't be made, the config says how it would ask for them
            answers.set("mesh.mip", Mesh.model_fields["mip"].default)
        _show_plan(config, answers, Path(private), yes)
        _write(config, answers, info, picture.read_bytes())
    _say_next(config, info)


def _check_target(config: Path, yes: bool) -> None:
    """Nothing that exists is replaced without a question."""
    if config.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"{config} doesn't end in .yaml",
            "configs are found by that: give a name like volume.yaml",
        )
    there = [p for p in (config, _picture_path(config)) if p.exists() or p.is_symlink()]
    if there and yes:
        raise UsageError(
            f"{' and '.join(map(str, there))} exist{'s' if len(there) == 1 else ''} already",
            "--yes replaces nothing: give another name, or omit --yes to be asked",
        )
    if config.is_dir():
        raise UsageError(f"{config} is a directory", "give the name of the file to write")
    if problem := places.not_writable(config.absolute().parent):
        raise UsageError(problem, "give a place that you may write to")
    if there:
        confirm(f"{' and '.join(map(str, there))}: replace?", False)


def _picture_path(config: Path) -> Path:
    return config.with_name(f"{config.stem}-convention.png")


# ------------------------------------------------------------------ the input
def _input(answers: Answers, ask: Ask, url: str | None, mip: int | None) -> VolumeInfo:
    if url is None:
        levels: list[VolumeInfo] = ask("Affinity map (URL or path)", levels_of, None)
    else:
        levels = levels_of(url)
    for info in levels:
        click.echo(f"  mip {info.mip}: {described(info)}")

    def check(text: str) -> VolumeInfo:
        if not text.isdigit() or int(text) >= len(levels):
            raise UsageError(f"mip {text} isn't there", f"choose one of 0 to {len(levels) - 1}")
        return levels[int(text)]

    if mip is not None:
        info = check(str(mip))
    else:
        info = levels[0] if len(levels) == 1 else ask("Mip to segment", check, "0")
    answers.set("paths.input", info.url)
    answers.set("input.mip", info.mip)
    info = ask_place(answers, ask, ask_axes(answers, ask, info))
    for note in info.notes:
        click.echo(f"  note: {note}")
    answers.set("input.mip", info.mip, described(info))
    return info


def _method(answers: Answers, ask: Ask, method: str | None) -> None:
    """Before the map is sampled: what is counted in a sample depends on it."""
    if method is not None:
        answers.set("method", method)
    else:
        answers.ask(
            ask,
            "method",
            "Method: exact (mean affinity, block borders leave no trace) or "
            "overlap (waterz, blocks overlap)",
            DEFAULT_METHOD,
        )
    if answers.values["method"] == DEFAULT_METHOD:
        del answers.values["method"]  # it says nothing that the comment doesn't


# ------------------------------------------------------------------ paths
def _paths(answers: Answers, ask: Ask, config: Path, output: str | None, work: str | None) -> None:
    source = str(answers.values["paths.input"])
    folder, name = places.beside(source, config)

    def check_output(text: str) -> str:
        url = places.as_url(text)
        places.check_place(answers.values, "paths.output", url)
        return url

    def check_work(text: str) -> str:
        path = str(Path(text.removeprefix("file://")).expanduser().absolute())
        places.check_place(answers.values, "paths.work", path)
        return path

    if output:
        url = check_output(output)
    else:
        free = places.free_output(folder, name)
        url = ask("Segmentation to write (URL or path)", check_output, free)
    answers.set("paths.output", url)
    if work:
        path = check_work(work)
    else:
        near = locate(url).path or config.absolute()
        path = ask(
            "Work directory (temporary files)", check_work, str(near.with_name(f"{name}-work"))
        )
    answers.set("paths.work", path)


# ------------------------------------------------------------------ plan, and writing
def _show_plan(config: Path, answers: Answers, private: Path, yes: bool) -> None:
    """What plan says of the answers, and the last question."""
    from magneton_tasks.cli.run.planning import describe
    from magneton_tasks.stages.planning import draft

    trial = private / config.name
    trial.write_text(answers.text(), encoding="utf-8")
    try:
        drafted = draft.draft(PlanRequest(trial, "config-new", {}), write=False)
    except MagnetonError as error:
        if yes:
            raise
        click.echo(f"plan refuses this: {str(error).replace(str(trial), str(config))}")
        confirm("Write it anyway?", False)
        return
    click.echo("this is what plan says:")
    for line in describe(drafted.plan, drafted.samples):
        click.echo(f"  {line}")
    if not yes:
        confirm(f"Write {config}?", True)


def _write(config: Path, answers: Answers, info: VolumeInfo, picture: bytes) -> None:
    text = answers.text(list(_head(config, info)))
    parse_config(text, str(config))
    files.write_atomic(_picture_path(config), picture)
    files.write_atomic(config, text.encode())


def _head(config: Path, info: VolumeInfo) -> Iterator[str]:
    yield f"Volume config made by `magneton config new` for {info.url}"
    yield f"({described(info)})."
    yield ""
    yield "To see what a run would do, and to run it:"
    yield f"  magneton run {config.name} --dry-run"
    yield f"  magneton run {config.name}"
    yield ""
    yield "Lines that begin with # are comments or defaults. To change a default, remove the # before"
    yield "it, and that before its section's name."


def _say_next(config: Path, info: VolumeInfo) -> None:
    click.echo(f"wrote {config}, and the picture {_picture_path(config)}")
    click.echo("next:")
    click.echo(f"  magneton run {config} --dry-run      what a run would do")
    click.echo(
        f"  magneton try {config} --box {_middle(info.box)}      other thresholds, side by side"
    )


def _middle(box: Box) -> Box:
    size = vec3(min(a, b) for a, b in zip(_TRY_BOX, box.shape, strict=True))
    begin = vec3(b + (n - s) // 2 for b, n, s in zip(box.begin, box.shape, size, strict=True))
    return Box.of_shape(size, begin)
