"""What the pages show of a cluster, as its user types it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np

from tests.cluster.slurm.cluster import PYTHON, Place, submitter
from tests.cluster.slurm.conftest import is_right
from tests.helpers.shell_blocks import Block, shown_to, typed


def _types(place: Place, shown: Sequence[Block]) -> str:
    """In the folder of the test, as the user who submits; ``magneton`` is that of this clone."""
    assert shown
    command = place.bin / "magneton"
    command.write_text(f'#!/bin/sh\nexec {PYTHON} -m magneton_tasks "$@"\n')
    command.chmod(0o755)
    return typed(shown, place.path, place.environ(), who=submitter())


def test_what_the_page_on_slurm_shows(place: Place, expected: list[np.ndarray]) -> None:
    shutil.copy(place.volume(), place.path / "volume.yaml")
    said = _types(place, shown_to(__file__, "slurm.md"))
    assert is_right(place.path, expected), said
    assert place.submissions("segment") and not place.jobs()


def test_kernels_are_compiled_on_a_node_of_a_kind(place: Place) -> None:
    """All nodes of the test cluster are said to have that CPU."""
    _types(place, shown_to(__file__, "compiled-code.md"))
    (call,) = place.calls("srun")
    assert call.split(" ", 2)[2] == "--constraint=zen3 magneton warm"
    place.magneton("warm", "--check")
