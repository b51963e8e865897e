"""A layer in a bucket, checked: its files are listed, and read in parts."""

from __future__ import annotations

import json

import numpy as np

from magneton_tasks.formats.precomputed.checking.layer import Wanted, check
from magneton_tasks.formats.precomputed.checking.report import LayerReport
from magneton_tasks.formats.precomputed.keyed_shards import InMemory, KeyedSharding, ShardWriter
from magneton_tasks.formats.precomputed.write import write_volume
from tests.buckets.conftest import Store

SHARDING = KeyedSharding(0, 1)


def write(store: Store) -> None:
    """Two chunks, an object in each, and a skeleton of either in a shard."""
    labels = np.repeat(np.array([3, 5], np.uint64), 512).reshape(2, 8, 8, 8).reshape(16, 8, 8)
    write_volume(
        f"{store.url}/seg", labels, (8, 8, 8), chunk_size=(8, 8, 8), layer_type="segmentation"
    )
    info = json.loads(store.everything()["seg/info"])
    store.put("seg/info", json.dumps(info | {"skeletons": "skeletons"}).encode())
    file = InMemory()
    writer = ShardWriter(file, SHARDING)
    for number in (3, 5):
        writer.add(number, np.array([1, 0, 0, 0, 0], "<u4").tobytes())
    writer.finish()
    of_skeletons = {"@type": "neuroglancer_skeletons", "sharding": SHARDING.to_info()}
    store.put("seg/skeletons/info", json.dumps(of_skeletons).encode())
    store.put("seg/skeletons/0.shard", bytes(file))


def checked(store: Store) -> LayerReport:
    return check(f"{store.url}/seg", Wanted(skeleton_dust=1), lambda _: None)


def test_what_lies_in_a_bucket_is_checked(store: Store) -> None:
    write(store)
    report = checked(store)
    assert report.is_right, report
    assert [p.figures.get("chunks", p.figures.get("skeletons")) for p in report.parts[1:]] == [2, 2]
    lost = next(name for name in store.everything() if name.endswith("/0-8_0-8_8-16"))
    store.delete(lost)
    store.put("seg/skeletons/0.shard", store.everything()["seg/skeletons/0.shard"][:-3])
    report = checked(store)
    found = {one.what: one.examples for part in report.parts for one in part.problems.values()}
    assert found["chunks are missing"] == [f"{store.url}/{lost}"]
    assert "cut off" in found["damaged"][0]
