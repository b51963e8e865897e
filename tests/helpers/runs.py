"""One finished run a process, which tests copy instead of segmenting anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.stages import child
from magneton_tasks.trials import trial_work
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run

#: Stages whose files a finished run takes over.
_UP_TO_POOL = ("segment", "count", "pool")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Noisy cells in 8 blocks, segmented without any disturbance; nobody writes here again."""
    folder = tmp_path_factory.mktemp("base")
    return volumes.run_pipeline(volumes.make_volume(folder), run="base")


@pytest.fixture(scope="session")
def expected(base: Run) -> list[volumes.Array]:
    """The voxels of that run, all mips."""
    return volumes.all_mips(base)


def _copy(
    base: Run, folder: Path, only: Sequence[str], settings: dict[str, Any] | None = None
) -> Path:
    """A config in ``folder`` on the base run's input, with what that did of some stages."""
    source = Path(base.plan.config_path).parent
    (folder / "work").mkdir()
    for kind in only:
        name = f"{kind}-{base.plan.fingerprints.of(kind)}"
        shutil.copytree(source / "work" / name, folder / "work" / name)
    shutil.copy(source / "work" / "samples.json", folder / "work")
    # paths.input decides fingerprints, so the blocks count for the same input only
    return volumes.write_config(folder, settings, input=f"file://{source}/affinity")


@pytest.fixture
def copy_of(base: Run, tmp_path: Path) -> Callable[..., Path]:
    """Copies the base run's input, or with ``work`` what it did: blocks, pairs and pool, or ``only``."""

    def copy(
        *,
        work: bool = False,
        only: Sequence[str] = _UP_TO_POOL,
        settings: dict[str, Any] | None = None,
    ) -> Path:
        if work:
            return _copy(base, tmp_path, only, settings)
        source = Path(base.plan.config_path).parent
        shutil.copytree(source / "affinity", tmp_path / "affinity")
        return volumes.write_config(tmp_path, settings)

    return copy


@pytest.fixture(scope="session")
def _finished_once(base: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A finished run, and where its folder is kept: what it wrote names the place that it had."""
    folder = tmp_path_factory.mktemp("finished")
    run = volumes.run_pipeline(_copy(base, folder, _UP_TO_POOL))
    assert run.made("segment") == set()
    return run, folder.rename(folder.with_name("kept"))


#: Stages; try and tune.
_WITH_CHILDREN = (child, trial_work)
_in_child = child.run_in_child


def _here(make: Callable[[], Any], log: Path, memory_limit: int) -> child.ChildResult:
    return child.ChildResult(json.loads(json.dumps(make())), 0.1, 1 << 20)


@pytest.fixture(scope="module")
def childless() -> Iterator[None]:
    """Blocks are worked in this process: for what isn't about processes, where forks would cost most."""
    with pytest.MonkeyPatch.context() as patch:
        for who in _WITH_CHILDREN:
            patch.setattr(who, "run_in_child", _here)
        yield


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ever, in a module that is `childless`: each block is worked in a child."""
    for who in _WITH_CHILDREN:
        monkeypatch.setattr(who, "run_in_child", _in_child)


@pytest.fixture
def finished(_finished_once: tuple[Run, Path], tmp_path: Path) -> Iterator[Run]:
    """A finished run of its own: blocks, pairs and pool of the base run, an output of its own."""
    run, kept = _finished_once
    folder = Path(run.plan.config_path).parent
    shutil.copytree(kept, folder, symlinks=True)
    yield Run(run.plan, reopened(run), run.draft, dict(run.codes))
    folder.rename(tmp_path / "finished")


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Caller:
    """The command line, in this process."""
    return Caller(capfd)


def reopened(run: Run) -> Attempt:
    return Attempt.open(run.attempt.paths.root)
