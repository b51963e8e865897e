"""``python -m benchmarks.copy_layer FROM TO``: copy a precomputed layer with cloud-volume, plainly."""

from __future__ import annotations

import sys
from copy import deepcopy
from itertools import product

from cloudvolume import CloudVolume

#: Voxels read and written at a time, per axis; whole chunks.
EDGE_VOX = 256


def main() -> None:
    """Read, encode and write every mip in boxes of whole chunks."""
    source, target = (f"file://{path}" for path in sys.argv[1:3])
    info = CloudVolume(source).info
    CloudVolume(target, info=deepcopy(info)).commit_info()
    for mip in range(len(info["scales"])):
        reader = CloudVolume(source, mip=mip, progress=False)
        writer = CloudVolume(target, mip=mip, progress=False, compress="gzip")
        begin, end = reader.bounds.minpt, reader.bounds.maxpt
        for corner in product(*(range(b, e, EDGE_VOX) for b, e in zip(begin, end, strict=True))):
            box = tuple(slice(c, min(c + EDGE_VOX, e)) for c, e in zip(corner, end, strict=True))
            writer[box] = reader[box]


if __name__ == "__main__":
    main()
