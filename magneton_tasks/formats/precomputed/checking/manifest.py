"""The manifest of a mesh, by the rules that Neuroglancer demands of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError

#: No octree of 32-bit places has more.
_MOST_LODS = 32


def bytes_of_fragments(data: bytes) -> int:
    """Bytes of all fragments of a manifest.

    Raises
    ------
    BadDataError
        It isn't one, or Neuroglancer wouldn't draw all of it.
    """
    if len(data) < 28:
        raise BadDataError(f"a manifest of {len(data)} bytes, fewer than its head has")
    lods = int(np.frombuffer(data, "<u4", 1, 24)[0])
    if not 0 < lods <= _MOST_LODS or len(data) < 28 + 20 * lods:
        raise BadDataError(
            f"a manifest of {len(data)} bytes that says it has {lods} levels of detail"
        )
    counts = np.frombuffer(data, "<u4", lods, 28 + 16 * lods).astype(np.int64)
    due = 28 + 20 * lods + 16 * int(counts.sum())
    if len(data) != due:
        raise BadDataError(f"a manifest of {len(data):,} bytes where {due:,} are due")
    if (np.frombuffer(data, "<f4", 3) <= 0).any():
        raise BadDataError("a manifest whose nodes have no extent")
    scales = np.frombuffer(data, "<f4", lods, 28)
    stored = scales[scales != 0]
    if (np.diff(stored) < 0).any():
        raise BadDataError("a manifest whose lod_scales fall")
    at, total, children = 28 + 20 * lods, 0, None
    for lod, n in enumerate(counts.tolist()):
        nodes = np.frombuffer(data, "<u4", 3 * n, at).reshape(3, n).astype(np.uint64)
        sizes = np.frombuffer(data, "<u4", n, at + 12 * n)
        codes = morton(nodes)
        if (codes[1:] <= codes[:-1]).any():
            raise BadDataError(f"a manifest whose fragments of level {lod} aren't in Z-order")
        if children is not None and np.setdiff1d(children >> np.uint64(3), codes).size:
            raise BadDataError(
                f"a manifest that lists fragments whose parent of level {lod} it doesn't"
            )
        children, total, at = codes, total + int(sizes.sum(dtype=np.int64)), at + 16 * n
    return total


def morton(nodes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The place of nodes (3, n), xyz, in Z-order; of each the lowest 21 bits count."""
    codes = np.zeros(nodes.shape[1], np.uint64)
    for axis, along in enumerate(nodes):
        for bit in range(21):
            codes |= (along >> np.uint64(bit) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return codes
