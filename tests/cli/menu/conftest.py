"""One finished volume a process, which tests copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import volumes
from tests.helpers.volumes import Run

Copy = Callable[..., Path]

#: 3 x 3 x 3 blocks: enough that a stage is still at it when somebody presses Ctrl-C
BLOCKS: dict[str, Any] = {"block.size": [20, 32, 32], "block.overlap": [4, 8, 8]}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Noisy cells in 27 blocks, done in this process without disturbance; nobody writes here again."""
    folder = tmp_path_factory.mktemp("menu")
    return volumes.run_pipeline(volumes.make_volume(folder, settings=BLOCKS), run="base")


@pytest.fixture
def copy_of(base: Run, tmp_path: Path) -> Copy:
    """A config on the base's input, with the stages of it that are wanted done."""

    def copy(
        *done: str, name: str = "volume", settings: dict[str, Any] | None = None, **paths: str
    ) -> Path:
        source = Path(base.plan.config_path).parent
        folder = tmp_path if name == "volume" else tmp_path / name
        folder.mkdir(exist_ok=True)
        for stage in done:
            directory = f"{stage}-{base.plan.fingerprints.of(stage)}"
            shutil.copytree(source / "work" / directory, folder / "work" / directory)
        # paths.input decides fingerprints
        places = {"input": f"file://{source}/affinity", **paths}
        return volumes.write_config(folder, BLOCKS | (settings or {}), **places)

    return copy
