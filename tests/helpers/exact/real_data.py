"""Real volumes that lie beside the project where they are; never copied into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.volumes import Array

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(
    not (DATA / "pub128.npz").is_file(), reason=f"the real test volumes aren't in {DATA}"
)


def real(name: str) -> dict[str, Array]:
    """Affinities, ``affs``, uint8 (3, z, y, x), and truth, ``labels``, (z, y, x)."""
    with np.load(DATA / f"{name}.npz") as data:
        return {key: np.asarray(data[key]) for key in ("affs", "labels")}


def pub128() -> Array:
    """Mouse cortex, 128^3: affinities, uint8 (3, z, y, x)."""
    return real("pub128")["affs"]
