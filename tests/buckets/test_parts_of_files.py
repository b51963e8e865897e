"""Values of a shard file in a bucket: only their own bytes are read."""

from __future__ import annotations

import pytest

from magneton_tasks.base.location import locate
from magneton_tasks.errors import MagnetonError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import InMemory, KeyedSharding, ShardWriter
from tests.buckets.conftest import Store


def test_values_are_read_out_of_a_bucket(store: Store) -> None:
    sharding, sink = KeyedSharding(4, 1), InMemory()
    writer = ShardWriter(sink, sharding)
    for key in (3, 8, 1 << 60):
        writer.add(key, b"value %d" % key, before=[b"before"])
    writer.finish()
    objects = Objects(locate(f"{store.url}/seg"))
    objects.put("mesh/a.shard", bytes(sink))
    reader = ShardReader.of_objects(objects, "mesh/a.shard", sharding)
    assert reader.read(1 << 60) == b"value %d" % (1 << 60)
    assert sorted(reader.ids().tolist()) == [3, 8, 1 << 60]
    end = len(bytes(sink))
    assert objects.get_part("mesh/a.shard", end - 3, end + 9) == bytes(sink)[-3:]
    missing = ShardReader.of_objects(objects, "mesh/b.shard", sharding)
    with pytest.raises(MagnetonError, match="mesh/b.shard"):
        missing.ids()
