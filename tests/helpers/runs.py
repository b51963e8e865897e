"""One finished run a process, which tests copy instead of segmenting anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Noisy cells in 8 blocks, segmented without any disturbance; nobody writes here again."""
    folder = tmp_path_factory.mktemp("base")
    return volumes.run_pipeline(volumes.make_volume(folder), run="base")


@pytest.fixture(scope="session")
def expected(base: Run) -> list[volumes.Array]:
    """The voxels of that run, all mips."""
    return volumes.all_mips(base)


@pytest.fixture
def copy_of(base: Run, tmp_path: Path) -> Callable[..., Path]:
    """Copies the base run's input, or with ``work`` what it did: blocks, pairs and pool, or ``only``."""

    def copy(
        *,
        work: bool = False,
        only: Sequence[str] = ("segment", "count", "pool"),
        settings: dict[str, Any] | None = None,
    ) -> Path:
        source = Path(base.plan.config_path).parent
        # paths.input decides fingerprints, so the blocks count for the same input only
        paths = {"input": f"file://{source}/affinity"}
        if work:
            (tmp_path / "work").mkdir()
            for kind in only:
                name = f"{kind}-{base.plan.fingerprints.of(kind)}"
                shutil.copytree(source / "work" / name, tmp_path / "work" / name)
            shutil.copy(source / "work" / "samples.json", tmp_path / "work")
        else:
            shutil.copytree(source / "affinity", tmp_path / "affinity")
            paths = {}
        return volumes.write_config(tmp_path, settings, **paths)

    return copy


@pytest.fixture
def finished(copy_of: Callable[..., Path]) -> Run:
    """A finished run of its own: blocks, pairs and pool of the base run, an output of its own."""
    run = volumes.run_pipeline(copy_of(work=True))
    assert run.made("segment") == set()
    return run


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Caller:
    """The command line, in this process."""
    return Caller(capfd)


def reopened(run: Run) -> Attempt:
    return Attempt.open(run.attempt.paths.root)
