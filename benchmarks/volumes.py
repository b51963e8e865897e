"""Volumes to measure with, and work directories whose blocks look segmented."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import Geometry, make_geometry
from magneton_tasks.plan.plan import Fingerprints, digest
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.work.paths import WorkPaths

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
VOXEL_SIZE_NM = (8.0, 8.0, 8.0)

UInt8 = NDArray[np.uint8]


def real(name: str) -> dict[str, Any] | None:
    """Arrays of a volume of the shared data; None where it isn't there."""
    path = DATA / f"{name}.npz"
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return {key: arrays[key] for key in arrays.files}


def source() -> UInt8:
    """Real affinities (uint8, 128^3) where the shared data is there, else the sample's."""
    found = real("pub128")
    if found is not None:
        affinity: UInt8 = found["affs"]
        return affinity
    from magneton_tasks.sample.volume import make_sample

    return make_sample((128, 128, 128), 0).affinity


def reflected(affinity: UInt8, shape: Vec3) -> UInt8:
    """Affinities continued by reflection to a shape."""
    grow = [(0, 0), *((0, max(0, n - s)) for n, s in zip(shape, affinity.shape[1:], strict=True))]
    grown = np.pad(affinity, grow, mode="reflect")
    return np.ascontiguousarray(grown[(slice(None), *(slice(0, n) for n in shape))])


def mirrored(affinity: UInt8, shape: Vec3) -> UInt8:
    """Affinities doubled along each axis, as often as it takes, each edge in its place; then cut.

    The voxels at both sides of a mirror plane are one: their edge is 255. A neuron goes on there,
    which `reflected` with its edges one voxel off doesn't care for.
    """
    for axis in range(3):
        while affinity.shape[axis + 1] < shape[axis]:
            image = np.flip(affinity, axis + 1).copy()
            image[axis] = np.roll(image[axis], 1, axis)
            first: list[Any] = [slice(None)] * 3
            first[axis] = 0
            image[(axis, *first)] = 255
            affinity = np.concatenate([affinity, image], axis + 1)
    return np.ascontiguousarray(affinity[(slice(None), *(slice(0, n) for n in shape))])


def write_config(directory: Path, sections: Mapping[str, Any]) -> Path:
    """A volume config, of the overlap method where ``sections`` name none.

    Input ``affinity``, output and work lie in the same directory.
    """
    paths = {
        "input": f"file://{directory}/affinity",
        "output": f"file://{directory}/segmentation",
        "work": f"{directory}/work",
        **sections.get("paths", {}),
    }
    config = directory / "volume.yaml"
    config.write_text(yaml.safe_dump({"method": "overlap", **sections, "paths": paths}))
    return config


def zarr_info(path: Path, shape: Vec3, chunk: int = 64) -> None:
    """An affinity map of zeros: a Zarr array without chunks."""
    import zarr

    zarr.create_array(
        path,
        shape=(3, *shape),
        chunks=(3, *[chunk] * 3),
        dtype="uint8",
        dimension_names=list("czyx"),
    )


class Planned:
    """What plan will find for a config: to write records that it takes for its own."""

    def __init__(self, config_path: Path) -> None:
        self.config: RunConfig = load_config(config_path)
        info = read_metadata(self.config.paths.input, self.config.input.mip)
        self.geometry: Geometry = make_geometry(self.config, VolumeFacts.of(info))
        self.fingerprints: Fingerprints = make_fingerprints(self.config, self.geometry)
        self.input_digest = digest(info.digest, self.config.input.version, None)
        self.work = WorkPaths(Path(self.config.paths.work))

    def stage_dir(self, stage: str) -> Path:
        return self.work.stage(stage, self.fingerprints.of(stage))


def fabricate_labels(planned: Planned, labels: NDArray[np.uint32]) -> None:
    """Store labels and records of all blocks as segment would.

    Parameters
    ----------
    labels
        Of one block of the largest read box; a block takes the part that fits its read box.
    """
    from magneton_tasks.kernels.label_sizes import label_sizes
    from magneton_tasks.kernels.overlap.segment import dense_labels
    from magneton_tasks.plan.plan import digest
    from magneton_tasks.work.labels import LabelStore
    from magneton_tasks.work.manifest import Manifest

    grid = planned.geometry.grid
    store = LabelStore(planned.stage_dir("segment"), grid.shape, grid.largest_read)
    store.create()
    manifest = Manifest(planned.work.records("segment", planned.fingerprints.segment))
    with manifest.writer("fabricated", "segment", 0) as writer:
        for key in range(len(grid)):
            read = grid.read(key)
            part = labels[tuple(slice(0, n) for n in read.shape)].astype(np.uint64)
            dense, n = dense_labels(part)
            sizes = label_sizes(dense, grid.core(key).slices(read.begin), n)
            at = grid.index3(key)
            written = {
                "labels": store.write(at, dense),
                "sizes": store.write_sizes(at, sizes.core, sizes.read),
            }
            files = {k: [f.size, f.crc32] for k, f in written.items()}
            writer.add(
                key,
                "done",
                attempt=1,
                input=planned.input_digest,
                output=digest(files),
                info={"n": n, "files": files},
            )


def write_records(
    directory: Path,
    stage: str,
    keys: range,
    make: Callable[[int], dict[str, Any]],
    started: bool = True,
) -> None:
    """Records as one batch would leave them, without a sync for each line."""
    from magneton_tasks.work.record import Record

    directory.mkdir(parents=True, exist_ok=True)
    host: dict[str, Any] = {
        "run": "cli_2026-01-01T00-00-00",
        "attempt": 1,
        "batch": 0,
        "host": "host",
        "pid": 12345,
    }
    with open(directory / f"fabricated-{stage}-0-0-host-12345-00000000.jsonl", "w") as file:
        for key in keys:
            time_s = 1.75e9 + key
            if started:
                file.write(Record(key, "started", time_s, **host).to_line() + "\n")
            done = {
                "seconds": 9.876,
                "cpu_s": 9.123456,
                "peak_bytes": 987654321,
                **host,
                **make(key),
            }
            file.write(Record(key, "done", time_s + 0.5, **done).to_line() + "\n")
