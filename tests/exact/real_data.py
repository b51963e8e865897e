"""Real volumes that lie beside the project where they are; never copied into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.volumes import Array

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(
    not (DATA / "pub128.npz").is_file(), reason=f"the real test volumes aren't in {DATA}"
)


def pub128() -> Array:
    """Mouse cortex, 128^3: affinities, uint8 (3, z, y, x)."""
    with np.load(DATA / "pub128.npz") as data:
        return np.asarray(data["affs"])
