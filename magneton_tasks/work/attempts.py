"""The attempts of a work directory: which is the newest."""

from __future__ import annotations

from pathlib import Path

from magneton_tasks import __version__
from magneton_tasks.config.read import load_config, require_partition
from magneton_tasks.errors import NoInputError, OtherVersionError
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import AttemptPaths, WorkPaths


def open_latest(config_path: Path, partition: str | None = None) -> Attempt:
    """The newest attempt of a volume, to be read only.

    Raises
    ------
    NoInputError
        There's none yet.
    ConfigError
        Another version of Magneton planned it.
    """
    root = latest_attempt(config_path, partition).root
    try:
        return Attempt.open(root)
    except OtherVersionError as error:
        raise OtherVersionError(
            f"the newest run is of Magneton {error.version}, this is {__version__}: {root}",
            f"`magneton run {config_path} --dry-run` shows what is still valid; after the next run, status "
            "and report work again",
            error.version,
        ) from None


def latest_attempt(
    config_path: Path, partition: str | None = None, *, verified: bool = False
) -> AttemptPaths:
    """The newest attempt of a volume.

    Raises
    ------
    NoInputError
        There's none yet.
    """
    config = load_config(config_path, partition=partition)
    require_partition(config, str(config_path))
    work = WorkPaths(Path(config.paths.work))
    wanted = "results/verify.json" if verified else "plan.json"
    found = [p for p in work.runs.glob(f"*/*/{wanted}") if p.is_file()]
    if not found:
        raise NoInputError(
            f"{work.work} holds no run yet", f"start one: magneton run {config_path}"
        )
    newest = max(found, key=lambda p: p.stat().st_mtime)
    return AttemptPaths(newest.parents[1] if verified else newest.parent)
