"""Meshes at mip 2: CPU time of both stages, fidelity of the finest level, open edges, bytes, memory.

512^3 of the sample and of pub128 continued by reflection, in blocks of 256. Fidelity: what each object
above 1,000 voxels of the mip encloses, against marching cubes of another library over the same voxels.
What lies at a low face of a volume that begins at 0 is closed half a voxel inwards.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.exact import config_of, large_sample, tiled, write
from benchmarks.in_process import done, stages_in_one_process
from benchmarks.measure import Row, forked, row
from magneton_tasks.base.geometry import Vec3

EDGE, BLOCK, MIP, LEAST_VOXELS = 512, 256, 2, 1000
MOST_CPU_US, MOST_MEDIAN, MOST_OFF = 0.06, 0.02, 0.10
Array = NDArray[Any]
Make = Callable[[Vec3], NDArray[np.uint8] | None]


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    rows = list[Row]()
    with TemporaryDirectory() as directory:
        makes: list[tuple[str, Make]] = [("sample", large_sample), ("pub128", tiled)]
        for name, make in makes:
            volume = Path(directory) / name
            if not write(volume, make, (EDGE,) * 3):
                rows.append(row(f"{name}: no shared data here, left out", "-", ""))
                continue
            rows += _volume(name, volume)
    return rows


def _volume(name: str, volume: Path) -> list[Row]:
    config = config_of(volume, BLOCK, 0.3, mesh={"mip": MIP}, local={"workers": 1})
    seconds = forked(lambda: stages_in_one_process(config)[0])[0]
    stages = [s for s in seconds if s.startswith("mesh")]
    cpu = sum(seconds[s] for s in stages) / EDGE**3 * 1e6
    files = [p for p in (volume / "segmentation" / "mesh").iterdir() if p.name.endswith(".shard")]
    size, found = sum(p.stat().st_size for p in files), forked(lambda: _fidelity(volume))[0]
    peaks = {s: max(r["peak_bytes"] for r in done(volume / "work", f"{s}-*")) for s in stages}
    each = ", ".join(f"{s} {seconds[s] / EDGE**3 * 1e6:.4f}" for s in stages)
    ratios = np.array(found["ratios"])
    return [
        row(f"meshes of {name} at mip {MIP}: {EDGE}^3 in blocks of {BLOCK}", cpu, "CPU us/voxel", most=MOST_CPU_US),
        row("  of each stage", each, "CPU us/voxel"),
        row("  peak of each stage", ", ".join(f"{s} {p >> 20}" for s, p in peaks.items()), "MiB"),
        row("  objects with a mesh", found["objects"], ""),
        row("  bytes an object", size / max(found["objects"], 1), "B"),
        row("  bytes", size / EDGE**3, "B/voxel"),
        row(f"  objects above {LEAST_VOXELS:,} voxels of the mip", len(ratios), ""),
        row("  enclosed / marching cubes: median off by", abs(float(np.median(ratios)) - 1), "", most=MOST_MEDIAN),
        row("  the furthest off by", float(np.abs(ratios - 1).max()), "", most=MOST_OFF),
        row("  of those at a low face of the volume", found["at_low"], ""),
        row("  enclosed / voxels: median", float(np.median(found["voxels"])), ""),
        row("  open edges, all objects and levels", found["open"], "", most=0),
    ]  # fmt: skip


def _fidelity(volume: Path) -> dict[str, Any]:
    """Of each object: what it encloses over what marching cubes of all its voxels does; open edges."""
    from bioimage_cpp.mesh import marching_cubes
    from scipy import ndimage

    from magneton_tasks.formats.precomputed.mesh_reader import MeshReader
    from magneton_tasks.formats.volume import open_volume
    from tests.helpers.meshing import enclosed, open_edges

    source = open_volume(f"file://{volume}/segmentation", MIP)
    labels = np.asarray(source.read(source.info.box)).reshape(source.info.box.shape)
    nm = np.array(source.info.voxel_size_nm[::-1])
    reader = MeshReader.open(f"file://{volume}/segmentation")
    ids, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(labels.shape) + 1
    boxes = dict(zip(ids.tolist(), ndimage.find_objects(numbers), strict=True))
    ratios, of_voxels, opened, at_low = list[float](), list[float](), 0, 0
    meshed = reader.ids().tolist()
    for key in meshed:
        meshes = [reader.mesh(key, lod) for lod in range(3)]
        opened += sum(open_edges(m.vertices / nm, m.faces) for m in meshes if m is not None)
        inside = labels[boxes[key]] == np.uint64(key)
        if inside.sum() < LEAST_VOXELS or meshes[0] is None:
            continue
        points, faces, _, _ = marching_cubes(np.pad(inside, 1), 0.5, allow_degenerate=False)
        volume_of = enclosed(meshes[0].vertices / nm, meshes[0].faces)
        ratios.append(volume_of / enclosed(points[:, ::-1], faces))
        of_voxels.append(volume_of / int(inside.sum()))
        at_low += any(s.start == 0 for s in boxes[key])
    return {
        "objects": len(meshed),
        "ratios": ratios,
        "voxels": of_voxels,
        "open": opened,
        "at_low": at_low,
    }
