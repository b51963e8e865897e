"""Values by key that share files: TensorStore and cloud-volume are the judges of what is written."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.files import FileInfo, writing
from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import (
    InMemory,
    KeyedSharding,
    ShardWriter,
    Written,
)
from magneton_tasks.formats.precomputed.murmur import murmur

IDS = np.unique(np.random.default_rng(5).integers(0, 2**64 - 1, 300, dtype=np.uint64))
VALUES = {int(i): bytes(f"value {i}" * int(i % np.uint64(7)), "ascii") for i in IDS}


def write(folder: Path, sharding: KeyedSharding) -> dict[str, tuple[FileInfo, Written]]:
    """All values, each with its key before it; some shards may stay empty and have no file."""
    shards, _ = sharding.place(IDS)
    written = {}
    for shard in np.unique(shards).tolist():
        name = sharding.file_name(shard)
        with writing(folder / name) as file:
            writer = ShardWriter(file, sharding)
            for key in IDS[shards == shard].tolist():
                writer.add(key, VALUES[key], before=[b"before ", str(key).encode()])
            found = writer.finish()
        written[name] = (file.info, found)
    return written


def test_the_hash_is_that_of_other_readers() -> None:
    keys = np.array([0, 1, 7, 2**63 + 5], np.uint64)
    expected = [0x4772B084E028AE41, 0xE8BD67D616D4CE9A, 0xDD7C2BAE73982156, 0xCA2865055AC2893D]
    assert murmur(keys).tolist() == expected


@pytest.mark.parametrize(
    "sharding",
    [
        pytest.param(KeyedSharding(0, 0, index_encoding="raw"), id="one file, nothing packed"),
        pytest.param(KeyedSharding(2, 3, data_encoding="gzip"), id="packed"),
        pytest.param(KeyedSharding(5, 1, preshift_bits=3), id="keys without their low bits"),
        pytest.param(KeyedSharding(3, 2, hash="identity"), id="no hash"),
    ],
)
def test_other_readers_find_every_value(tmp_path: Path, sharding: KeyedSharding) -> None:
    files = write(tmp_path, sharding)
    for name, (info, written) in files.items():
        data = (tmp_path / name).read_bytes()
        assert FileInfo(len(data), zlib.crc32(data)) == info
        reader = ShardReader.of_file(tmp_path / name, sharding)
        assert sorted(reader.ids().tolist()) == written.ids.tolist()
        for key, begin, size, before in zip(*map(np.ndarray.tolist, columns(written)), strict=True):
            assert reader.find(key) == (begin, size)
            assert reader.read(key) == VALUES[key]
            assert reader.read_at(begin - before, before) == f"before {key}".encode()
    assert by_tensorstore(tmp_path, sharding) == VALUES
    assert by_cloud_volume(tmp_path, sharding) == VALUES


def columns(written: Written) -> list[Any]:
    return [written.ids, written.begins, written.sizes, written.before]


def by_tensorstore(folder: Path, sharding: KeyedSharding) -> dict[int, bytes]:
    import tensorstore

    store: Any = tensorstore.KvStore.open(
        {
            "driver": "neuroglancer_uint64_sharded",
            "metadata": sharding.to_info(),
            "base": f"file://{folder}/",
        }
    ).result()
    return {
        int.from_bytes(key, "big"): bytes(store.read(key).result().value)
        for key in store.list().result()
    }


def by_cloud_volume(folder: Path, sharding: KeyedSharding) -> dict[int, bytes]:
    from cloudvolume.datasource.precomputed import sharding as theirs

    reader = theirs.ShardReader(
        None, None, theirs.ShardingSpecification.from_dict(sharding.to_info())
    )
    found: dict[int, bytes] = {}
    for path in folder.iterdir():
        found |= reader.disassemble_shard(path.read_bytes())
    return found


def test_places_and_file_names() -> None:
    sharding = KeyedSharding(5, 3)
    hashed = murmur(IDS)
    shards, minishards = sharding.place(IDS)
    np.testing.assert_array_equal(minishards, hashed % np.uint64(8))
    np.testing.assert_array_equal(shards, hashed // np.uint64(8) % np.uint64(32))
    assert (sharding.shards, sharding.minishards) == (32, 8)
    assert sharding.file_name(31) == "1f.shard"
    assert KeyedSharding(0, 2).file_name(0) == "0.shard"
    assert KeyedSharding.from_info(sharding.to_info()) == sharding


def test_a_file_in_an_order_of_its_own_is_read_by_minishard(tmp_path: Path) -> None:
    """Pieces of objects, by where they go: a key stands in the minishard that its writer chose."""
    sharding, sink = KeyedSharding(0, 2), InMemory()
    writer = ShardWriter(sink, sharding)
    for destination in (3, 1):
        for key in (5, 1 << 60):
            writer.add(key, b"%d to %d" % (key, destination), minishard=destination)
    writer.finish()
    (tmp_path / "pieces").write_bytes(bytes(sink))
    reader = ShardReader.of_file(tmp_path / "pieces", sharding)
    assert [reader.index(m).ids.tolist() for m in range(4)] == [[], [5, 1 << 60], [], [5, 1 << 60]]
    index = reader.index(1)
    pieces = [
        reader.read_at(int(b), int(s)) for b, s in zip(index.begins, index.sizes, strict=True)
    ]
    assert pieces == [b"5 to 1", b"%d to 1" % (1 << 60)]


def test_a_shard_of_nothing_is_an_index_alone(tmp_path: Path) -> None:
    sharding = KeyedSharding(0, 1)
    with writing(tmp_path / "0.shard") as file:
        assert len(ShardWriter(file, sharding).finish().ids) == 0
    assert (tmp_path / "0.shard").read_bytes() == bytes(32)
    reader = ShardReader.of_file(tmp_path / "0.shard", sharding)
    assert reader.ids().tolist() == []
    assert reader.read(7) is None


def test_keys_out_of_order_are_refused() -> None:
    writer = ShardWriter(InMemory(), KeyedSharding(0, 0))
    writer.add(9, b"nine")
    writer.add(7, b"seven")
    with pytest.raises(ValueError, match="ascend"):
        writer.finish()


def test_damage_is_named(tmp_path: Path) -> None:
    sharding = KeyedSharding(0, 0, data_encoding="gzip")
    write(tmp_path, sharding)
    path = tmp_path / "0.shard"
    data = path.read_bytes()
    (key, *_), path_of = IDS.tolist(), str(path)

    def read() -> bytes | None:
        return ShardReader.of_file(path, sharding).read(key)

    for cut in (0, 8, 40, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(BadDataError, match=path_of):
            read()
    path.write_bytes(np.array([0, 2**62], "<u8").tobytes() + data[16:])
    with pytest.raises(BadDataError, match="cut off"):
        read()
    path.write_bytes(data[:16] + bytes(len(data) - 16))
    with pytest.raises(BadDataError, match="can't be"):
        read()
    path.unlink()
    with pytest.raises(NoInputError, match=path_of):
        read()


@pytest.mark.parametrize(
    "change",
    [{"hash": "sha1"}, {"shard_bits": 70}, {"data_encoding": "zstd"}, {"shard_bits": None}],
)
def test_an_info_that_isnt_known_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadDataError, match="sharding"):
        KeyedSharding.from_info(KeyedSharding(1, 1).to_info() | change)
