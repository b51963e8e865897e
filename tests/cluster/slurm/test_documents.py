"""What the pages show of a cluster, as its user types it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.cluster.slurm.cluster import PYTHON, Place, submitter
from tests.cluster.slurm.conftest import is_right
from tests.shell_blocks import Block, shown_to, typed


def _types(place: Place, shown: Sequence[Block]) -> str:
    environ = place.environ()
    environ["PATH"] = f"{environ['PATH']}{os.pathsep}{Path(PYTHON).parent}"
    assert shown
    return typed(shown, place.path, environ, who=submitter())


def test_what_the_page_on_slurm_shows(place: Place, expected: list[np.ndarray]) -> None:
    shutil.copy(place.volume(), place.path / "volume.yaml")
    said = _types(place, shown_to(__file__, "slurm.md"))
    assert is_right(place.path, expected), said
    assert place.submissions("segment") and not place.jobs()


def test_kernels_are_compiled_on_a_node_of_a_kind(place: Place) -> None:
    """All nodes of the test cluster are said to have that CPU."""
    _types(place, shown_to(__file__, "compiled-code.md"))
    (_, _, _, told) = place.calls("srun")[0].split(" ", 3)
    assert told == "--constraint=zen3 magneton warm"
    place.magneton("warm", "--check")
