"""Fixtures on a real Slurm cluster, which ``make test-slurm`` brings up and the tests may break."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.stores.volumes import open_volume
from tests.cluster.slurm.cluster import Place, bring_up
from tests.tiny_volume import write_tiny_volume
from tests.volumes import run_pipeline

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """The cluster, all of it, with accounting."""
    assert os.geteuid() == 0, (
        "these tests stop daemons and submit as another user: run them as root"
    )
    bring_up()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.remove()


@pytest.fixture
def mended() -> Iterator[None]:
    """For a test that breaks the cluster."""
    yield
    bring_up()


def voxels(output: Path, mip: int = 0) -> np.ndarray:
    """All voxels of a segmentation."""
    volume = open_volume(f"file://{output}", mip)
    return np.asarray(volume.read(volume.info.box))


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """What the local runner makes of the tiny volume, at each mip."""
    folder = tmp_path_factory.mktemp("local")
    run_pipeline(write_tiny_volume(folder))
    return [voxels(folder / "segmentation", mip) for mip in (0, 1)]


def is_right(folder: Path, expected: list[np.ndarray]) -> bool:
    """Whether the segmentation in a folder has the voxels that are expected."""
    output = folder / "segmentation"
    return all(np.array_equal(voxels(output, mip), e) for mip, e in enumerate(expected))
