"""The summary of a finished run: ``python -m magneton_tasks.cli.run.summary CONFIG [--truth URL]``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from magneton_tasks.base import files
from magneton_tasks.base.units import human_count, human_time, several
from magneton_tasks.outcome import scores as kept
from magneton_tasks.outcome import threshold_words
from magneton_tasks.stages.proof import file_words, words
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import latest_attempt


def print_summary(attempt_dir: Path, truth: str | None = None) -> None:
    """Blocks, labels, objects, scores, and where the segmentation lies; of each threshold."""
    for number, attempt in enumerate(Attempt.open(attempt_dir).each()):
        if number:
            click.echo()
        _print(attempt, truth)


def _print(attempt: Attempt, truth: str | None) -> None:
    with files.open_read(attempt.paths.result("verify")) as file:
        result: dict[str, Any] = json.loads(file.read())
    rows = [
        ("blocks", f"{human_count(result['blocks'])} ({result['empty_blocks']} without foreground)")
    ]
    is_exact = attempt.config.method == "exact"
    rows.append(("supervoxels" if is_exact else "labels", human_count(result["labels"])))
    rows.append(("threshold", threshold_words.words(attempt.threshold)))
    rows += [("WARNING", warning) for warning in attempt.threshold.warnings]
    if "objects" in result:
        how = "merges" if is_exact else "joins over block borders"
        rows.append(
            (
                "objects",
                f"{human_count(result['objects'])} ({human_count(result['joins'])} {how})",
            )
        )
    if "chunks" in result:
        rows.append((file_words(result), human_count(result["chunks"])))
    rows += _of_objects(result)
    rows.append(("verified", words(result) or "no"))
    rows.append(
        (
            "time",
            human_time(
                max(attempt.paths.result("verify").stat().st_mtime - attempt.plan.created, 0)
            ),
        )
    )
    if truth is not None and "chunks" in result:
        from magneton_tasks.trials.evaluation import score

        scores = score(attempt.config.paths.output, truth)
        kept.keep(attempt.config.paths.output, truth, (0, 0), scores)
        rows.append(
            (
                "VI to truth",
                f"{scores['vi']:.3f} bits (split {scores['vi_split']:.3f} + merge {scores['vi_merge']:.3f})",
            )
        )
        rows.append(("ARAND", f"{scores['arand']:.3f}"))
    if "chunks" in result:
        rows.append(("segmentation", f"precomputed://{attempt.config.paths.output}"))
        if attempt.paths.preview.is_file():
            rows.append(("preview", str(attempt.paths.preview)))
    if attempt.paths.page.is_file():
        rows.append(("report", str(attempt.paths.page)))
    for name, value in rows:
        click.echo(f"{name:<13} {value}")


def _of_objects(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Meshes and skeletons, where there are any."""
    for section, noun in (("mesh", "meshes"), ("skeleton", "skeletons")):
        if (told := result.get(section)) is None:
            continue
        cable = f", {told['cable_nm'] / 1e6:,.3g} mm of cable" if "cable_nm" in told else ""
        thinned = told.get("thinned", 0)
        fewer = f"; {several(thinned, 'object')} with fewer vertices, for memory" if thinned else ""
        dust = several(told["dust"], "object")
        yield noun, f"{human_count(told['objects'])}{cable} (dust: {dust}){fewer}"


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--truth", help="URL of the truth to score against.")
def summary(config: Path, truth: str | None) -> None:
    """Sum up the latest verified run of CONFIG."""
    print_summary(latest_attempt(config, verified=True).root, truth)


if __name__ == "__main__":
    summary()
