"""Meshes as stages: cells leave pieces, shards join them, verify proves that nothing got lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from magneton_tasks.clean.find import find
from magneton_tasks.clean.remove import remove
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding
from magneton_tasks.outcome import damage
from magneton_tasks.plan import geometry as geometries
from magneton_tasks.plan import object_grid
from magneton_tasks.stages.objects.joining import Joining
from magneton_tasks.work import pieces
from magneton_tasks.work.states import VolumeStates
from tests.helpers import volumes
from tests.helpers.plain_maker import PlainMaker, plain_maker
from tests.helpers.volumes import Array, Run, in_fork, kill_at
from tests.stages.test_exact_pipeline import EXACT

__all__ = ["plain_maker"]
pytestmark = pytest.mark.usefixtures("childless", "small")

SHAPE = (16, 20, 60)
OFFSET = (6, -14, 302)
#: 8 cells of 16^3 voxels at mip 0 make mips 0 and 1; downsample's of 64 along x make the others
SETTINGS: Mapping[str, Any] = {
    **EXACT, "block": {"size": [16, 20, 30]}, "segment": {"threshold": 0.6},
    "apply": {"chunk_size": [4, 8, 8], "mips": 3, "sharding": "on"},
    "mesh": {"mip": 1, "dust_um3": 0.0004},
}  # fmt: skip

Base = Callable[..., Path]


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Small cells, and four shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometries, "MAX_CELL_VOXELS", 4096)
        patch.setattr(object_grid, "SHARD_BYTES", 100)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An affinity map."""
    array = volumes.affinities(volumes.cells(SHAPE, 20, 3), noise=0.3, seed=3)
    place = tmp_path_factory.mktemp("map")
    volumes.write_precomputed(
        place / "affinity", array, voxel_size_nm=(20, 8, 8), voxel_offset=OFFSET
    )
    return place


@pytest.fixture
def finished(made: Path, plain_maker: PlainMaker) -> Path:
    """A volume with a result, made once: its config."""
    place, kept = made / "volume", made / "kept"
    if not kept.exists():
        place.mkdir()
        config = volumes.write_config(place, SETTINGS, input=f"file://{made}/affinity")
        volumes.run_pipeline(config)
        place.rename(kept)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(kept, place, symlinks=True)
    plain_maker.worked.clear()
    plain_maker.joined.clear()
    return place / "volume.yaml"


def objects_of(folder: Path) -> dict[int, tuple[Array, dict[str, Any]]]:
    """What shards hold: of each object the rows before its value, and the value."""
    info = json.loads((folder / "info").read_text())
    sharding, found = KeyedSharding.from_info(info["sharding"]), {}
    for path in folder.glob("*.shard"):
        reader = ShardReader.of_file(path, sharding)
        for one in reader.ids().tolist():
            begin, _ = reader.find(one) or (0, 0)
            value = json.loads(reader.read(one) or b"")
            rows = reader.read_at(begin - 24 * value["rows"], 24 * value["rows"])
            found[one] = np.frombuffer(rows, "<i8").reshape(-1, 3), value
    return found


def mesh_files(config: Path) -> dict[str, bytes]:
    root = config.parent / "segmentation" / "mesh"
    return {p.name: p.read_bytes() for p in root.iterdir()}


def sums(run: Run, mip: int) -> dict[int, float]:
    """Volume of each object at a mip, in um^3."""
    labels, factor = volumes.read_segmentation(run, mip), run.plan.geometry.cumulative[mip]
    ids, voxels = np.unique(labels[labels > 0], return_counts=True)
    um3 = voxels * np.prod([20, 8, 8]) * np.prod(factor) / 1e9
    return dict(zip(ids.tolist(), um3.tolist(), strict=True))


@pytest.mark.parametrize("mip", [0, 1, 3])
def test_objects_above_dust_are_whole(finished: Path, mip: int) -> None:
    """Of a mip of apply's cells, and of one of downsample's."""
    run = volumes.run_pipeline(finished, {"mesh.mip": mip})
    assert not run.plan.work["apply"].todo
    assert bool(run.plan.work["mesh"].todo) == (mip != 1)
    labels, begin = volumes.read_segmentation(run, mip), run.plan.geometry.mip_box(mip).begin
    um3 = sums(run, mip)
    large = {i for i, size in um3.items() if size >= 0.0004}
    found = objects_of(finished.parent / "segmentation" / "mesh")
    assert set(found) == large < set(um3)
    for one, (rows, _) in found.items():
        assert np.array_equal(np.unique(rows, axis=0), np.argwhere(labels == one) + begin), one
    told = run.result("verify")["mesh"]
    assert (told["objects"], told["dust"]) == (len(large), len(um3) - len(large))
    info = json.loads((finished.parent / "segmentation" / "info").read_text())
    assert info["mesh"] == "mesh"


def test_a_rerun_has_nothing_to_do(finished: Path, plain_maker: PlainMaker) -> None:
    run = volumes.run_pipeline(finished)
    assert run.plan.nothing_to_do
    assert len(run.records("mesh")) == 16
    shards = [r.info["made"][0] > 0 for r in run.records("mesh_shards").values()]
    assert len(shards) == 8
    assert sum(shards) == len(mesh_files(finished)) - 2 > 1
    assert not plain_maker.worked


def test_meshes_that_nobody_asks_for_any_more_are_removed(finished: Path) -> None:
    n = len(mesh_files(finished))
    run = volumes.run_pipeline(finished, {"mesh": None})
    assert run.result("verify")["removed"] == n
    assert not (finished.parent / "segmentation" / "mesh").exists()


def test_meshes_of_other_settings_that_were_never_proved_are_removed_too(finished: Path) -> None:
    """Of three settings, the second was stopped: what it and the first left goes."""
    stopped = volumes.plan_run(finished, {"mesh.mip": 0})
    volumes.run_stages(stopped, stages=["mesh", "mesh_shards"])
    volumes.release(stopped)
    before = mesh_files(finished).keys()
    (finished.parent / "segmentation" / "mesh" / "notes").write_bytes(b"theirs")
    run = volumes.run_pipeline(finished, {"mesh.mip": 3})
    told = [name for r in run.records("mesh_shards").values() for name in r.info.get("outputs", {})]
    own = {name.removeprefix("mesh/") for name in told}
    assert mesh_files(finished).keys() == {*own, "info", "magneton.json", "notes"}
    assert run.result("verify")["removed"] == len(before - own - {"info", "magneton.json"}) > 0


def forget_meshes(config: Path) -> None:
    for folder in (*(config.parent / "work").glob("mesh*"), config.parent / "segmentation/mesh"):
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("stage", "call", "n"),
    [
        ("mesh", "rename", 3),
        ("mesh", "fsync", 9),
        ("mesh_shards", "rename", 1),  # the folder's mark
        ("mesh_shards", "rename", 3),  # of a shard and its table, the table
        ("mesh_shards", "fsync", 12),
    ],
)
def test_kill_9(finished: Path, stage: str, call: str, n: int) -> None:
    expected = mesh_files(finished)
    forget_meshes(finished)
    run = volumes.plan_run(finished)

    def killed() -> int:
        kill_at(n, call)
        return volumes.run_stages(run, stages=["mesh", "mesh_shards"]).code

    if stage == "mesh_shards":
        volumes.run_stages(run, stages=["mesh"])
    assert in_fork(killed) == -signal.SIGKILL
    volumes.release(run)
    volumes.run_pipeline(finished)
    assert mesh_files(finished) == expected


def test_another_threshold_joins_the_objects_that_changed(
    finished: Path, plain_maker: PlainMaker
) -> None:
    before = objects_of(finished.parent / "segmentation" / "mesh")
    run = volumes.run_pipeline(finished, {"segment.threshold": 0.5})
    after = objects_of(finished.parent / "segmentation" / "mesh")
    same = {i for i in after if i in before and np.array_equal(after[i][0], before[i][0])}
    assert same
    assert set(plain_maker.joined) == set(after) - same
    records = run.records("mesh_shards").values()
    assert sum(r.info.get("copied", 0) for r in records) > 0
    assert len(plain_maker.worked) < len(run.records("mesh"))
    anew = mesh_files(finished)
    forget_meshes(finished)
    volumes.run_pipeline(finished, {"segment.threshold": 0.5})
    assert mesh_files(finished) == anew


@pytest.mark.parametrize("damage", ["cut off", "a bit", "gone"])
def test_a_damaged_shard_is_named_and_mended(finished: Path, damage: str) -> None:
    whole, path = mesh_files(finished), a_shard(finished)
    spoil(path, damage)
    found = volumes.run_pipeline(finished, expect=65)
    (failure,) = found.result("verify")["failures"]
    key = int(path.stem, 16)
    assert f"mesh_shards shard {key}: mesh/{path.name}" in failure["cause"]
    again = volumes.run_pipeline(finished)
    assert again.made("mesh_shards") == {key}
    assert mesh_files(finished) == whole


def a_shard(config: Path) -> Path:
    return min((config.parent / "segmentation/mesh").glob("*.shard"))


def spoil(path: Path, damage: str) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if damage == "cut off" else data)
    if damage == "gone":
        path.unlink()


@pytest.mark.parametrize("damage", ["cut off", "a bit", "gone"])
def test_damaged_pieces_are_made_again(finished: Path, damage: str) -> None:
    whole = mesh_files(finished)
    a_shard(finished).unlink()
    for path in (finished.parent / "work").glob("mesh-*/cells/*"):
        spoil(path, damage)
    volumes.run_pipeline(finished, expect=65)  # the shard is gone
    codes = list[int]()
    while not codes or codes[-1]:
        codes.append(volumes.run_pipeline(finished, expect=None).code)
        assert len(codes) < 30
    assert codes[0] in (65, 75)
    assert mesh_files(finished) == whole


MUTANTS: Mapping[str, Callable[[Joining], Joining]] = {
    "cells sent": lambda j: replace(j, pieces=j.pieces - 1),
    "voxels, and": lambda j: replace(j, voxels=j.voxels - 1),
    "and its dust": lambda j: replace(j, dust=[0, 0]),
    "aren't dust": lambda j: replace(j, ids=j.ids[1:], begins=j.begins[1:], ends=j.ends[1:]),
}


@pytest.mark.parametrize("told", MUTANTS)
def test_what_gets_lost_in_a_shard_is_found(
    finished: Path, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Joining.of.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Joining, "of", classmethod(lambda cls, *given: MUTANTS[told](plain(cls, *given)))
    )
    forget_meshes(finished)
    run = volumes.run_pipeline(finished, expect=65)
    assert told in run.result("verify")["failures"][0]["cause"]
    assert "mesh" not in json.loads((finished.parent / "segmentation/info").read_text())


def test_a_cell_that_is_forgotten_is_found(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pieces.sent_to
    monkeypatch.setattr(
        pieces, "sent_to", lambda *given: {key: sent[1:] for key, sent in plain(*given).items()}
    )
    forget_meshes(finished)
    run = volumes.run_pipeline(finished, expect=65)
    assert "cells sent" in run.result("verify")["failures"][0]["cause"]


def test_pieces_that_a_cell_does_not_send_are_found(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pieces.write

    def forgetful(path: Path, found: Any, bits: int) -> Any:
        return plain(path, dict(list(found.items())[1:]), bits)

    monkeypatch.setattr(pieces, "write", forgetful)
    forget_meshes(finished)
    run = volumes.run_pipeline(finished, expect=65)
    assert "are labelled" in run.result("verify")["failures"][0]["cause"]


def test_a_folder_of_another_tool_is_refused(finished: Path) -> None:
    mark = finished.parent / "segmentation/mesh/magneton.json"
    mark.unlink()
    with pytest.raises(ConfigError, match="didn't write, such as") as refused:
        volumes.plan_run(finished)
    assert "mesh" in str(refused.value.hint)


def test_a_mip_that_is_not_there_is_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="no mip above 3") as refused:
        volumes.plan_run(finished, {"mesh.mip": 4})
    assert "set mesh.mip to 3 or less, or apply.mips to 4" in str(refused.value.hint)


def test_an_empty_volume(tmp_path: Path, plain_maker: PlainMaker) -> None:
    nothing = np.zeros((3, *SHAPE), np.uint8)
    volumes.write_precomputed(tmp_path / "affinity", nothing)
    config = volumes.write_config(tmp_path, {**SETTINGS, "input.doubtful": "warn"})
    run = volumes.run_pipeline(config)
    assert set(mesh_files(config)) == {"info", "magneton.json"}
    assert run.result("verify")["mesh"]["objects"] == 0


def test_clean_frees_pieces_and_the_next_threshold_makes_them_again(finished: Path) -> None:
    (folder,) = (finished.parent / "work").glob("mesh-*")
    items = [i for i in find(load_config(finished), "cache").items if i.path == folder]
    remove(finished.parent / "work", items, lambda: None)
    assert not (folder / "cells").exists()
    assert volumes.run_pipeline(finished).plan.nothing_to_do
    run = volumes.run_pipeline(finished, {"segment.threshold": 0.5})
    assert len(run.made("mesh")) == len(run.records("mesh"))


def test_a_full_disk_loses_nothing(finished: Path) -> None:
    expected = mesh_files(finished)
    forget_meshes(finished)
    plain, shards = os.rename, list[str]()

    def full(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(".shard"):
            shards.append(str(target))
            if len(shards) == 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        plain(source, target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", full)
        run = volumes.run_pipeline(finished, expect=74)
    assert "free space" in run.result("mesh_shards", 0)["failures"][0]["hint"]
    again = volumes.run_pipeline(finished)
    assert again.plan.work["mesh"].todo == []
    assert len(again.made("mesh_shards")) == 8 - 2
    assert mesh_files(finished) == expected


def test_several_thresholds_have_meshes_each(finished: Path, plain_maker: PlainMaker) -> None:
    sets = {"paths.output": f"file://{finished.parent}/cut-{{threshold}}"}
    run = volumes.run_pipeline(finished, sets, thresholds=(0.5, 0.6))
    for one, name in zip(run.attempt.each(), ("0.5", "0.6"), strict=True):
        found = objects_of(finished.parent / f"cut-{name}" / "mesh")
        url = one.config.paths.output
        labels = volumes.read_segmentation(url, 1)
        assert set(found) <= set(np.unique(labels).tolist())
        assert found


def test_a_restart_joins_all_objects(finished: Path, plain_maker: PlainMaker) -> None:
    before = mesh_files(finished)
    run = volumes.run_pipeline(finished, stages=("apply",), restart=True, run="anew")
    assert len(plain_maker.joined) == len(objects_of(finished.parent / "segmentation/mesh"))
    assert sum(r.info.get("copied", 0) for r in run.records("mesh_shards").values()) == 0
    assert mesh_files(finished) == before


def test_switched_off_meshes_are_not_named(finished: Path) -> None:
    text = finished.read_text()
    data = yaml.safe_load(text)
    del data["mesh"]
    finished.write_text(yaml.safe_dump(data))
    run = volumes.run_pipeline(finished)
    assert run.plan.nothing_to_do
    assert "mesh" not in run.plan.work
    assert not (finished.parent / "segmentation/mesh").exists()
    assert "mesh" not in json.loads((finished.parent / "segmentation/info").read_text())


def test_status_finds_what_is_damaged(finished: Path) -> None:
    attempt = volumes.run_pipeline(finished).attempt
    spoil(a_shard(finished), "a bit")
    spoil(next((finished.parent / "work").glob("mesh-*/cells/*")), "gone")
    states = VolumeStates(attempt, alive=False)
    found = {s: list(damage.find(attempt, s, states.judged(s))) for s in ("mesh", "mesh_shards")}
    assert [len(some) for some in found.values()] == [1, 1]
