"""What the pages show of containers, as a person types it in a clone of the project."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from magneton_tasks import __version__
from magneton_tasks.runners.docker.engine import Engine
from tests.cluster.docker.conftest import MARKS, expect_same_as_local, own, records
from tests.helpers.clones import clone
from tests.helpers.shell_blocks import shown_to, typed
from tests.helpers.tiny_volume import write_tiny_volume

pytestmark = MARKS
#: Built beside the image that the other tests use.
IMAGE = "magneton-tasks-typed"


@pytest.fixture
def image(engine: Engine) -> Iterator[str]:
    yield IMAGE
    for tag in ("latest", __version__):
        engine.client.remove_image(f"{IMAGE}:{tag}")


def test_build_and_run(place: Path, engine: Engine, image: str) -> None:
    shown = shown_to(__file__, "docker.md")
    project, config = clone(place), write_tiny_volume(place / "data")
    own(place / "data")
    shutil.copy(config, project / "volume.yaml")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    typed(shown, project, {**os.environ, "PATH": path, "IMAGE": image})
    assert engine.image_digest(image)
    made = {record.image for record in records(place / "data" / "work")}
    assert made == {engine.image_digest("magneton-tasks")}
    expect_same_as_local(config, place)
