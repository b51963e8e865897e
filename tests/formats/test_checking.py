"""Layers of other programs, checked: cloud-volume wrote the chunks and shards, the rest is by the specification."""

from __future__ import annotations

import json
import shutil
import struct
import threading
from collections.abc import Callable
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.cli.main import main
from magneton_tasks.formats.precomputed.checking.layer import Wanted, check
from magneton_tasks.formats.precomputed.checking.report import LayerReport
from magneton_tasks.formats.precomputed.meshes import encode_fragment
from tests.formats.test_over_the_web import Server

SHAPE = (32, 64, 64)
CHUNK = 16
#: Blocks of 16 x 16 x 32 voxels, of which 7 is left out; one above 2^53.
OBJECTS = [1, 2, 3, 4, 5, 6, 1 << 60]
VOXELS = 16 * 16 * 32
Damage = Callable[[Path], None]


def labels() -> Any:
    found = np.zeros(SHAPE, np.uint64)
    for at, number in enumerate(OBJECTS):
        z, y = 16 * (at // 4), 16 * (at % 4)
        found[z : z + 16, y : y + 16, 8:40] = number
    found[31, 63, 63] = 9  # dust
    return found


# ------------------------------------------------------------------ writing
def info_of(sharding: dict[str, Any] | None) -> dict[str, Any]:
    scale: dict[str, Any] = {
        "key": "4_4_40", "size": list(SHAPE[::-1]), "resolution": [4, 4, 40], "voxel_offset": [-16, 0, 32],
        "chunk_sizes": [[CHUNK] * 3], "encoding": "compressed_segmentation",
        "compressed_segmentation_block_size": [8, 8, 8],
    }  # fmt: skip
    if sharding is not None:
        scale["sharding"] = sharding
    return {
        "@type": "neuroglancer_multiscale_volume", "type": "segmentation", "data_type": "uint64",
        "num_channels": 1, "scales": [scale], "mesh": "mesh", "skeletons": "skeletons",
        "segment_properties": "properties",
    }  # fmt: skip


def sharding(hashed: str, **bits: int) -> dict[str, Any]:
    return {
        "@type": "neuroglancer_uint64_sharded_v1", "hash": hashed, **bits,
        "minishard_index_encoding": "gzip", "data_encoding": "gzip" if hashed == "identity" else "raw",
    }  # fmt: skip


#: The grid of 4 x 4 x 2 chunks takes 5 bits: 4 shards, of which each has 2 minishards.
OF_CHUNKS = sharding("identity", preshift_bits=2, minishard_bits=1, shard_bits=2)
OF_OBJECTS = sharding("murmurhash3_x86_128", preshift_bits=0, minishard_bits=1, shard_bits=1)
MESH = {
    "@type": "neuroglancer_multilod_draco", "vertex_quantization_bits": 10, "lod_scale_multiplier": 1,
    "transform": [4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 40, 0],
}  # fmt: skip
SKELETONS = {
    "@type": "neuroglancer_skeletons", "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "vertex_attributes": [{"id": "radius", "data_type": "float32", "num_components": 1}],
}  # fmt: skip
PROPERTIES = {
    "@type": "neuroglancer_segment_properties",
    "inline": {
        "ids": [str(i) for i in OBJECTS],
        "properties": [
            {"id": "label", "type": "label", "values": ["a"] * 7},
            {"id": "voxels", "type": "number", "data_type": "uint32", "values": [VOXELS] * 7},
            {"id": "tags", "type": "tags", "tags": ["big", "small"], "values": [[0, 1]] * 7},
        ],
    },
}  # fmt: skip
TRIANGLE = encode_fragment(
    np.array([[0, 0, 0], [512, 0, 0], [0, 512, 9]], np.float32), np.array([[0, 1, 2]], np.int32), 10
)
#: Two nodes and their parent.
FRAGMENTS = TRIANGLE * 3


def manifest(first: tuple[int, ...] = (0, 1), parent: int = 0) -> bytes:
    head = struct.pack("<6fI2f6f2I", *[16.0] * 3, *[0.5] * 3, 2, 1, 2, *[0] * 6, 2, 1)
    size = len(TRIANGLE)
    return head + struct.pack("<12I", *first, 0, 0, 0, 0, size, size, parent, 0, 0, size)


def skeleton(edges: tuple[int, ...] = (0, 1, 1, 2)) -> bytes:
    return struct.pack("<2I9f4I3f", 3, 2, *range(9), *edges, *[1.0] * 3)


def fragment(corners: tuple[int, ...] = (0, 1, 2)) -> bytes:
    return struct.pack("<I9f3I", 3, *range(9), *corners)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``files``: a file a chunk, old meshes. ``apart``: files of meshes. ``shards``: all in shards."""
    from cloudvolume import CloudVolume
    from cloudvolume.datasource.precomputed.sharding import ShardingSpecification

    top = tmp_path_factory.mktemp("layers")
    array = np.asfortranarray(labels().T)
    for name in ("files", "shards"):
        layer = top / name
        write_json(layer / "info", info_of(OF_CHUNKS if name == "shards" else None))
        volume = CloudVolume(
            f"file://{layer}", progress=False, compress="gzip", non_aligned_writes=True
        )
        if name == "files":
            volume[:, :, :] = array
        for x in range(0, 64, 32) if name == "shards" else ():
            for y in range(0, 64, 32):
                box, begin = volume.bounds.clone(), np.add(volume.bounds.minpt, [x, y, 0])
                box.minpt, box.maxpt = begin, begin + 32
                shard, data = volume.image.make_shard(
                    array[x : x + 32, y : y + 32, :, np.newaxis], box, 0
                )
                (layer / "4_4_40").mkdir(exist_ok=True)
                (layer / "4_4_40" / shard).write_bytes(data)
        write_json(layer / "properties" / "info", PROPERTIES)
    files, apart, shards = (top / name for name in ("files", "apart", "shards"))
    write_json(files / "skeletons" / "info", SKELETONS)
    for number in OBJECTS:
        (files / "skeletons" / str(number)).write_bytes(skeleton())
    shutil.copytree(files, apart)
    write_json(files / "mesh" / "info", {"@type": "neuroglancer_legacy_mesh"})
    write_json(apart / "mesh" / "info", MESH)
    for number in OBJECTS:
        write_json(files / "mesh" / f"{number}:0", {"fragments": [f"{number}:0:all"]})
        (files / "mesh" / f"{number}:0:all").write_bytes(fragment())
        (apart / "mesh" / f"{number}.index").write_bytes(manifest())
        (apart / "mesh" / str(number)).write_bytes(FRAGMENTS)
    spec = ShardingSpecification.from_dict(OF_OBJECTS)
    of_meshes = {number: FRAGMENTS + manifest() for number in OBJECTS}
    write_json(shards / "mesh" / "info", MESH | {"sharding": OF_OBJECTS})
    for name, data in spec.synthesize_shards(
        of_meshes, dict.fromkeys(OBJECTS, len(manifest()))
    ).items():
        (shards / "mesh" / name).write_bytes(data)
    write_json(shards / "skeletons" / "info", SKELETONS | {"sharding": OF_OBJECTS})
    for name, data in spec.synthesize_shards(dict.fromkeys(OBJECTS, skeleton())).items():
        (shards / "skeletons" / name).write_bytes(data)
    return top


def checked(layer: Path, **wanted: Any) -> LayerReport:
    return check(f"file://{layer}", Wanted(**{"dust": 2, **wanted}), lambda _: None)


def problems(report: LayerReport) -> dict[str, tuple[int, str]]:
    """Count and first example of each, by part and kind."""
    return {
        f"{part.name}: {one.what}": (one.count, one.examples[0])
        for part in report.parts
        for one in part.problems.values()
    }


# ------------------------------------------------------------------ what is right
@pytest.mark.parametrize("layer", ["files", "apart", "shards"])
def test_a_whole_layer_is_right(made: Path, layer: str) -> None:
    report = checked(made / layer, reads=True, skeleton_dust=2)
    assert problems(report) == {}
    assert [part.name for part in report.parts] == [
        "info", "mip 0", "meshes", "skeletons", "segment properties",
    ]  # fmt: skip
    _, mip, meshes, skeletons, listed = report.parts
    assert mip.figures["chunks"] == 32 and meshes.figures["meshes"] == 7
    assert meshes.figures["objects at mip 0"] == 8 and meshes.figures["without a mesh"] == 1
    assert meshes.figures["the largest of them, voxels"] == 1
    assert skeletons.figures["skeletons"] == 7 and listed.figures["segments"] == 7
    if layer == "shards":
        assert mip.figures["shards"] == 4 and meshes.figures["shards"] == 2


# ------------------------------------------------------------------ what is wrong
def cut(name: str, keep: float = 0.6) -> Damage:
    def damage(layer: Path) -> None:
        path = layer / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return damage


def without(name: str) -> Damage:
    return lambda layer: (layer / name).unlink()


def bytes_of(name: str, data: bytes) -> Damage:
    def damage(layer: Path) -> None:
        (layer / name).write_bytes(data)

    return damage


def renamed(name: str, other: str) -> Damage:
    def damage(layer: Path) -> None:
        (layer / name).rename(layer / other)

    return damage


def members(name: str, *keys: str | int, value: Any) -> Damage:
    """A member of a JSON file changed; by its keys from the top."""

    def damage(layer: Path) -> None:
        content = json.loads((layer / name).read_text())
        inner = content
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        write_json(layer / name, content)

    return damage


CHUNK_NAME = "4_4_40/0-16_16-32_32-48.gz"
LISTED = ("inline", "properties")
WRONG: dict[str, tuple[str, Damage, str, int, str]] = {
    "a missing chunk": ("files", without(CHUNK_NAME), "mip 0: chunks are missing", 1, "/4_4_40/0-16_16-32_32-48"),
    "an empty chunk": ("files", cut(CHUNK_NAME, 0), "mip 0: damaged", 1, "empty"),
    "a cut chunk": ("files", cut(CHUNK_NAME), "mip 0: voxels that can't be read", 1, "can't be decompressed"),
    "a missing shard": ("shards", without("4_4_40/2.shard"), "mip 0: shards are missing", 1, "2.shard: 8 chunks"),
    "a cut shard": ("shards", cut("4_4_40/2.shard"), "mip 0: damaged", 1, "2.shard is cut off"),
    "a shard of another place": ("shards", renamed("4_4_40/1.shard", "4_4_40/2.shard"), "mip 0: damaged", 1, "belong elsewhere"),
    "too few bits": ("shards", members("info", "scales", 0, "sharding", "shard_bits", value=1), "info: a rule of the format is broken", 1, "4 bits, and places of its chunks take 5"),
    "a null": ("files", members("info", "skeletons", value=None), "info: a rule of the format is broken", 1, "leave it out"),
    "a missing mesh": ("files", without("mesh/3:0"), "meshes: objects of 2 voxels or more at mip 0 have no mesh", 1, "3 (8,192 voxels)"),
    "a mesh too many": ("files", bytes_of("mesh/8:0", b'{"fragments": []}'), "meshes: ids with a mesh have no voxel at mip 0", 1, "8"),
    "a missing fragment": ("files", without("mesh/3:0:all"), "meshes: damaged", 1, "mesh/3:0:all: isn't there"),
    "a corner of no vertex": ("files", bytes_of("mesh/3:0:all", fragment((0, 1, 3))), "meshes: damaged", 1, "vertex 3 of 3"),
    "a fragment cut off": ("files", cut("mesh/3:0:all"), "meshes: damaged", 1, "mesh/3:0:all: 31 bytes"),
    "a manifest cut off": ("apart", cut("mesh/3.index"), "meshes: damaged", 1, "a manifest of 69 bytes"),
    "fragments out of order": ("apart", bytes_of("mesh/3.index", manifest((1, 0))), "meshes: damaged", 1, "Morton order"),
    "a parent missing": ("apart", bytes_of("mesh/3.index", manifest(parent=1)), "meshes: damaged", 1, "without a parent"),
    "fragments cut off": ("apart", cut("mesh/3"), "meshes: damaged", 1, "bytes of fragments where it says"),
    "a mesh shard missing": ("shards", without("mesh/1.shard"), "meshes: shards are missing", 1, "1.shard"),
    "a mesh shard cut off": ("shards", cut("mesh/1.shard"), "meshes: damaged", 1, "mesh/1.shard is cut off"),
    "an edge to nowhere": ("files", bytes_of("skeletons/3", skeleton((0, 1, 1, 3))), "skeletons: damaged", 1, "has an edge to vertex 3"),
    "a skeleton cut off": ("files", cut("skeletons/3"), "skeletons: damaged", 1, "has 72 bytes, not 43"),
    "a skeleton too many": ("files", bytes_of("skeletons/8", skeleton()), "skeletons: ids with a skeleton have no voxel at mip 0", 1, "8"),
    "skeletons of another type": ("files", members("skeletons/info", "@type", value="x"), "skeletons: its info can't be read", 1, "'x'"),
    "no properties": ("files", without("properties/info"), "segment properties: the info names what isn't there", 1, "properties/info"),
    "ids that don't ascend": ("files", members("properties/info", "inline", "ids", value=["2", "1", "3", "4", "5", "6", "7"]), "segment properties: a rule of the format is broken", 1, "ascend"),
    "numbers of 64 bits": ("files", members("properties/info", *LISTED, 1, "data_type", value="uint64"), "segment properties: a rule of the format is broken", 1, "'uint64'"),
    "numbers that don't fit": ("files", members("properties/info", *LISTED, 1, "data_type", value="uint8"), "segment properties: a rule of the format is broken", 1, "doesn't hold"),
    "a value too few": ("files", members("properties/info", *LISTED, 0, "values", value=["a"] * 6), "segment properties: a rule of the format is broken", 1, "6 values for 7 ids"),
    "a tag with a space": ("files", members("properties/info", *LISTED, 2, "tags", value=["b g", "s"]), "segment properties: a rule of the format is broken", 1, "space"),
    "no JSON": ("files", cut("properties/info"), "segment properties: can't be read", 1, "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_damage_is_told_with_what_and_where(made: Path, tmp_path: Path, name: str) -> None:
    of, damage, what, count, where = WRONG[name]
    layer = tmp_path / "layer"
    shutil.copytree(made / of, layer)
    damage(layer)
    found = problems(checked(layer))
    assert what in found, found
    assert found[what][0] == count and where in found[what][1], found[what]
    assert not checked(layer).is_right


def test_a_mesh_whose_fragments_reach_into_others_is_told(made: Path, tmp_path: Path) -> None:
    """The manifest of one says more bytes than lie before it."""
    layer = tmp_path / "layer"
    shutil.copytree(made / "shards", layer)
    path = layer / "mesh" / "0.shard"
    path.write_bytes(path.read_bytes().replace(manifest(), manifest()[:-4] + b"\xff\0\0\0"))
    found = problems(checked(layer))["meshes: damaged"]
    size, room = len(FRAGMENTS) - len(TRIANGLE) + 255, len(FRAGMENTS)
    assert f"its fragments have {size} bytes, and there are {room} before" in found[1]


@pytest.mark.parametrize("of", ["apart", "shards"])
def test_a_fragment_that_cannot_be_decoded_is_told_by_those_who_read(
    made: Path, tmp_path: Path, of: str
) -> None:
    layer = tmp_path / "layer"
    shutil.copytree(made / of, layer)
    path = layer / "mesh" / ("3" if of == "apart" else "0.shard")
    path.write_bytes(path.read_bytes().replace(TRIANGLE, b"x" * len(TRIANGLE), 1))
    assert checked(layer).is_right
    assert "can't be decoded" in problems(checked(layer, reads=True))["meshes: damaged"][1]


# ------------------------------------------------------------------ what is asked for
def test_what_is_missing_on_purpose_is_counted_only(made: Path, tmp_path: Path) -> None:
    for of, gone in (("files", CHUNK_NAME), ("shards", "4_4_40/2.shard")):
        layer = tmp_path / of
        shutil.copytree(made / of, layer)
        (layer / gone).unlink()
        report = checked(layer, sparse=True, dust=VOXELS + 1)
        assert report.parts[1].figures["missing chunks"] == (1 if of == "files" else 8)
        assert report.is_right == (of == "files"), "a shard that is lost is no background"


def test_dust_decides_which_objects_need_a_mesh(made: Path) -> None:
    found = problems(checked(made / "shards", dust=0, skeleton_dust=1))
    assert found == {
        "meshes: objects at mip 0 have no mesh": (1, "9 (1 voxels)"),
        "skeletons: objects at mip 0 have no skeleton": (1, "9 (1 voxels)"),
    }


def test_what_magneton_made_is_judged_by_its_own_config(made: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    shutil.copytree(made / "shards", layer)
    (layer / "mesh" / "magneton.json").write_text("{}")
    config = {"mesh": {"mip": 0, "dust_um3": 1e-6}, "skeleton": {"mip": 0, "dust_um3": 1e-6}}
    write_json(layer / "magneton.json", {"config": config})  # a voxel has 6.4e-7 um^3
    assert problems(checked(layer, dust=None)) == {}
    config["mesh"]["dust_um3"] = 6.4e-7
    write_json(layer / "magneton.json", {"config": config})
    assert problems(checked(layer, dust=None)) == {
        "meshes: objects at mip 0 have no mesh": (1, "9 (1 voxels)")
    }


def test_a_sample_is_told_as_one(made: Path) -> None:
    parts = {part.name: part for part in checked(made / "shards", sample=1).parts}
    assert "sampled" in parts["meshes"].notes[0] and "sampled" in parts["skeletons"].notes[0]
    assert parts["meshes"].figures["meshes"] == 7, "their ids are all compared"


def test_the_command_tells_what_is_wrong_and_ends_with_65(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = tmp_path / "layer"
    shutil.copytree(made / "files", layer)
    (layer / "mesh" / "3:0").unlink()

    def typed(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["check-layer", *words])
        return int(str(ended.value.code)), capsys.readouterr().out

    assert typed(str(made / "files"), "--dust", "2")[0] == 0
    code, told = typed(str(layer), "--dust", "2")
    assert code == 65 and "\n  3 (8,192 voxels)" in told.replace(" " * 26, "")
    assert told.splitlines()[-1] == "wrong: meshes"
    code, told = typed(str(layer), "--json")
    found = json.loads(told)
    assert code == 65 and found["is_right"] is False
    (problem,) = next(part for part in found["parts"] if part["name"] == "meshes")["problems"]
    assert (problem["what"], problem["count"]) == ("objects at mip 0 have no mesh", 2)


# ------------------------------------------------------------------ elsewhere
def test_a_web_server_is_asked_for_each_file(made: Path) -> None:
    """It lists none: what is expected is asked for by its name."""
    handler = partial(Server, directory=str(made))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/ranges/shards"
            found = problems(check(url, Wanted(dust=0), lambda _: None))
        finally:
            server.shutdown()
            thread.join()
    assert found == {"meshes: objects at mip 0 have no mesh": (1, "9 (1 voxels)")}
