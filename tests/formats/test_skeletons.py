"""Skeletons as they are stored: cloud-volume reads them; and as SWC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.errors import BadDataError
from magneton_tasks.formats import swc
from magneton_tasks.formats.precomputed import skeletons
from magneton_tasks.formats.precomputed.keyed_shards import InMemory, KeyedSharding, ShardWriter

LARGE = 2**53 + 1
#: (z, y, x)
VERTICES = np.array([[40, 8, 4], [80, 8, 4], [120, 8, 4], [120, 16, 4], [400, 0, 0]], np.float64)
EDGES = np.array([[0, 1], [2, 1], [3, 2]])
RADII = np.array([10, 20, 70, 5, 1.5], np.float32)
BYTES = skeletons.encode(VERTICES, EDGES, RADII)
VOLUME = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "segmentation",
    "data_type": "uint64",
    "num_channels": 1,
    "skeletons": "skeletons",
    "scales": [
        {
            "key": "4_4_40",
            "size": [64, 64, 64],
            "resolution": [4, 4, 40],
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[64, 64, 64]],
            "encoding": "raw",
        }
    ],
}


def test_cloud_volume_reads_them_in_nm(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    sharding = KeyedSharding(1, 1, data_encoding="gzip")
    given = {1: BYTES, LARGE: skeletons.encode(VERTICES[4:], EDGES[:0], RADII[4:])}
    folder = tmp_path / skeletons.FOLDER
    folder.mkdir()
    (tmp_path / "info").write_text(json.dumps(VOLUME))
    (folder / "info").write_text(json.dumps(skeletons.content(sharding.to_info())))
    shards, _ = sharding.place(np.array(list(given), np.uint64))
    for key, shard in zip(given, shards.tolist(), strict=True):
        file = InMemory()
        writer = ShardWriter(file, sharding)
        for other, at in zip(given, shards.tolist(), strict=True):
            if at == shard:
                writer.add(other, given[other])
        writer.finish()
        (folder / sharding.file_name(shard)).write_bytes(bytes(file))
        assert key in given
    volume: Any = CloudVolume(f"file://{tmp_path}", progress=False)
    one, other = volume.skeleton.get(1), volume.skeleton.get(LARGE)
    assert one.vertices.tolist() == VERTICES[:, ::-1].tolist()
    assert one.edges.tolist() == EDGES.tolist() and one.radius.tolist() == RADII.tolist()
    assert other.vertices.tolist() == [[0, 0, 400]] and other.radius.tolist() == [1.5]


def test_they_are_read_as_they_were_written() -> None:
    again = skeletons.decode(BYTES)
    assert again.vertices.tolist() == VERTICES[:, ::-1].tolist()
    assert again.edges.tolist() == EDGES.tolist() and again.radii.tolist() == RADII.tolist()
    skeletons.check_info(skeletons.content(KeyedSharding(0, 0).to_info()))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(BYTES[:-1], id="cut off"),
        pytest.param(BYTES[:5], id="no head"),
        pytest.param(BYTES + b"\0", id="too long"),
        pytest.param(skeletons.encode(VERTICES[:3], EDGES, RADII[:3]), id="an edge to nowhere"),
    ],
)
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(BadDataError, match="skeleton"):
        skeletons.decode(data)


def test_skeletons_of_another_tool_are_told_apart() -> None:
    other = skeletons.content(KeyedSharding(0, 0).to_info()) | {"vertex_attributes": []}
    with pytest.raises(BadDataError, match="vertex_attributes"):
        skeletons.check_info(other)
    with pytest.raises(BadDataError, match="sharding"):
        skeletons.check_info({k: v for k, v in skeletons.content({}).items() if k != "sharding"})


def test_swc_has_a_tree_per_component_parents_first_in_um() -> None:
    from cloudvolume import Skeleton

    text = swc.text(skeletons.decode(BYTES), LARGE, "file:///data/seg")
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert str(LARGE) in head[0] and "file:///data/seg" in head[0] and "micrometres" in head[1]
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert rows[0] == ["1", "0", "0.0040", "0.0080", "0.1200", "0.0700", "-1"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    parents = [int(row[6]) for row in rows]
    assert all(parent < int(row[0]) for parent, row in zip(parents, rows, strict=True))
    assert parents.count(-1) == 2
    read = Skeleton.from_swc(text)
    assert len(read.vertices) == 5 and len(read.edges) == 3
    assert np.isclose(read.cable_length(), (40 + 40 + 8) / 1000, atol=1e-6)
