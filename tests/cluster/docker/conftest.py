"""Fixtures on a real engine, which `make test-docker` brings up: ``$DOCKER_HOST``, image magneton-tasks."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.config.read import load_config
from magneton_tasks.runners.docker.engine import Engine
from magneton_tasks.work.record import Record
from tests.helpers.volumes import all_mips, read_segmentation, run_pipeline

#: Of the modules here that use an engine.
MARKS = [
    pytest.mark.cluster,
    pytest.mark.docker,
    pytest.mark.usefixtures("no_container_left"),
    # The engine's client closes its sockets when it's collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
#: Who owns the volumes of these tests: never root.
OWNER = 12345


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, else it would end alone."""
    items.sort(key=lambda item: "test_compose_stack" not in item.nodeid)


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.connect()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the owner's that containers can reach: pytest's own are for its user alone."""
    path = Path(tempfile.mkdtemp(prefix="magneton-docker-"))
    path.chmod(0o755)
    os.chown(path, OWNER, OWNER)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def no_container_left(engine: Engine, place: Path) -> Iterator[None]:
    """Removes what a test that failed left; other workers' containers are theirs."""
    yield
    for container in engine.find({"magneton.stage": "segment"}):
        if container["Labels"]["magneton.work"].startswith(f"{place}/"):
            engine.remove(container["Id"])


def own(*paths: Path) -> None:
    """Give files and directories to the owner."""
    for path in paths:
        for one in (path, *path.rglob("*")):
            os.chown(one, OWNER, OWNER)


def records(work: Path, stage: str = "segment") -> list[Record]:
    """All records of a stage, as they stand in the files."""
    files = sorted(work.glob(f"{stage}-*/records/*.jsonl"))
    lines = [line for f in files for line in f.read_text().splitlines()]
    return [Record.from_line(line) for line in lines if line.endswith("}")]


def count(work: Path, state: str, stage: str = "segment") -> Counter[int]:
    """How often each block has a record of this state."""
    return Counter(r.key for r in records(work, stage) if r.state == state)


def expect_same_as_local(config: Path, place: Path) -> None:
    """The output in ``place`` has the voxels, at every mip, that a local run makes."""
    output = load_config(config).paths.output
    local = run_pipeline(
        config,
        {
            "runner.offered": ["local"],
            "runner.default": "local",
            "paths.work": f"{place}/local/work",
            "paths.output": f"file://{place}/local/segmentation",
        },
        run="local",
    )
    for mip, voxels in enumerate(all_mips(local)):
        np.testing.assert_array_equal(voxels, read_segmentation(output, mip))


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.05)
