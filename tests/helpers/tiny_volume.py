"""A volume small enough for tests that run everything: perfect affinities of a few Voronoi cells."""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (40, 48, 56)
OFFSET = (3, 5, 7)
#: the chunks of the first layer are read by the first layer of blocks alone
CHUNK = (10, 24, 28)
OBJECTS = 12


#: what stands in the config beside paths and output, by method
METHODS = {
    "overlap": "method: overlap\nblock: {size: [32, 32, 32], overlap: [8, 8, 8]}\nsegment: {merge_function: mean, threshold: 0.7}\n",
    "exact": "method: exact\nblock: {size: [20, 24, 28]}\nsegment: {threshold: 0.5}\n",
}
#: By name: what stands for the usual sizes. One cell each.
_ONE_CELL = {"chunk_size: [16, 16, 16]": "chunk_size: [64, 64, 64]"}
SIZES = {
    # 2 blocks, which Airflow maps over one by one
    "few": _ONE_CELL
    | {"size: [32, 32, 32]": "size: [40, 48, 36]", "size: [20, 24, 28]": "size: [40, 48, 28]"},
    # 4 blocks (exact)
    "some": _ONE_CELL | {"size: [20, 24, 28]": "size: [40, 24, 28]"},
    # 18 blocks (overlap): too many for a task each
    "many": _ONE_CELL | {"size: [32, 32, 32]": "size: [24, 32, 32]"},
}


def write_tiny_volume(
    folder: Path,
    more: str = "",
    method: str = "overlap",
    output: str = "segmentation",
    sizes: str = "",
) -> Path:
    """Raw precomputed affinities in 16 chunks, and their config: 12 blocks (exact: 8), 8 cells.

    Parameters
    ----------
    folder
        Gets ``affinity/`` and ``configs/tiny.yaml``.
    more
        YAML added to the config.
    output
        What the output is called in the folder.
    sizes
        Of `SIZES`: other blocks and cells.
    """
    layer = folder / "affinity"
    scale = {
        "key": "8_8_8",
        "size": SHAPE[::-1],
        "chunk_sizes": [CHUNK[::-1]],
        "encoding": "raw",
        "resolution": [8, 8, 8],
        "voxel_offset": OFFSET[::-1],
    }
    info = {"type": "image", "data_type": "uint8", "num_channels": 3, "scales": [scale]}
    (layer / "8_8_8").mkdir(parents=True)
    (layer / "info").write_text(json.dumps(info))
    affinity = tiny_affinity()
    for at in product(*(range(0, s, c) for s, c in zip(SHAPE, CHUNK, strict=True))):
        z, y, x = (slice(b, b + c) for b, c in zip(at, CHUNK, strict=True))
        # x is fastest in the file, the channel slowest: that is our array in C order
        chunk_file(layer, at).write_bytes(affinity[:, z, y, x].tobytes())
    config = folder / "configs" / "tiny.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(
        f"paths:\n  input: file://{layer}\n  output: file://{folder}/{output}\n"
        f"  work: {folder}/work\n" + settings(method, sizes) + more
    )
    return config


def settings(method: str, sizes: str = "") -> str:
    """YAML of the config, beside paths; see `write_tiny_volume`."""
    text = METHODS[method] + "apply: {chunk_size: [16, 16, 16], mips: 1}\n"
    for old, new in SIZES.get(sizes, {}).items():
        text = text.replace(old, new)
    return text


def chunk_file(layer: Path, begin: tuple[int, ...]) -> Path:
    """The file of the chunk that begins at ``begin`` (zyx, from the volume's begin)."""
    ends = [min(b + c, s) for b, c, s in zip(begin, CHUNK, SHAPE, strict=True)]
    ranges = [f"{b + o}-{e + o}" for b, e, o in zip(begin, ends, OFFSET, strict=True)]
    return layer / "8_8_8" / "_".join(ranges[::-1])


@cache
def tiny_affinity() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 (3, z, y, x), read-only: 255 inside an object, 0 between two."""
    seeds = np.random.default_rng(1).uniform(0, 1, (OBJECTS, 3)) * SHAPE
    at = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    labels = ((at[..., None, :] - seeds) ** 2).sum(-1).argmin(-1)
    affinity = np.zeros((3, *SHAPE), np.uint8)
    for d in range(3):
        here = np.moveaxis(labels, d, 0)
        np.moveaxis(affinity[d], d, 0)[1:] = 255 * (here[1:] == here[:-1])
    affinity.flags.writeable = False
    return affinity
