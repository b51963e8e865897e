"""A noisy volume whose result at each threshold differs, for runs of several thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import volumes

SHAPE = (16, 24, 20)
EXACT: dict[str, Any] = {
    "method": "exact",
    "segment": {},
    "exact": {"s2": 20, "dust": 15, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": [8, 12, 20]},
}
#: What `write` makes at these differs.
THRESHOLDS = (0.3, 0.6)
TEXTS = ",".join(map(str, THRESHOLDS))
#: YAML that asks for meshes and skeletons of all objects.
IN_3D = "mesh: {mip: 1, dust_um3: 0}\nskeleton: {mip: 1, dust_um3: 0}\n"


def write(folder: Path, more: str = "") -> Path:
    """The affinities and the config, whose output is ``at {threshold}/segmentation``.

    ``more``: YAML added to the config.
    """
    array = volumes.affinities(volumes.cells(SHAPE, 20, 3), noise=0.4)
    volumes.write_precomputed(folder / "affinity", array)
    output = f"file://{folder}/at {{threshold}}/segmentation"
    config = volumes.write_config(folder, EXACT, output=output)
    config.write_text(config.read_text() + more)
    return config


def assert_as_alone(config: Path, local: Path) -> None:
    """Each output has the voxels that a local run of its threshold alone makes (below ``local``), and its objects' shapes."""
    found = {}
    for threshold in THRESHOLDS:
        alone = {
            "runner.offered": ["local"],
            "runner.default": "local",
            "segment.threshold": threshold,
            "paths.work": f"{local}/{threshold}/work",
            "paths.output": f"file://{local}/{threshold}/segmentation",
        }
        run = volumes.run_pipeline(config, alone, run=f"alone-{threshold}")
        made = config.parent / f"at {threshold}" / "segmentation"
        found[threshold] = volumes.read_segmentation(f"file://{made}")
        for folder in ("mesh", "skeletons"):
            shards = {p.name: p.read_bytes() for p in (made / folder).glob("*.shard")}
            expected = local / str(threshold) / "segmentation" / folder
            assert shards == {p.name: p.read_bytes() for p in expected.glob("*.shard")}
            assert bool(shards) == (f"\n{folder[:4]}" in config.read_text())
        np.testing.assert_array_equal(found[threshold], volumes.read_segmentation(run))
    assert len({voxels.tobytes() for voxels in found.values()}) == len(THRESHOLDS)
