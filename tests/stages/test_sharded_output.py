"""A sharded output holds the voxels of an unsharded one, and whatever happens to a shard is mended."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import geometry as geometries
from magneton_tasks.plan.stage_table import ROUNDS
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run, in_fork, kill_at
from tests.stages.test_exact_pipeline import EXACT

SHAPE = (16, 20, 120)
#: Cells of so many voxels hold one mip besides the finest; downsample makes the others.
SMALL_CELLS = 4096

Maker = Callable[..., Path]


@pytest.fixture(scope="module")
def affinity(tmp_path_factory: pytest.TempPathFactory) -> str:
    array = volumes.affinities(volumes.cells(SHAPE, 40, 3), noise=0.1, seed=3)
    return volumes.write_precomputed(
        tmp_path_factory.mktemp("map") / "affinity", array, voxel_size_nm=(20, 8, 8)
    )


@pytest.fixture
def config_in(tmp_path: Path, affinity: str, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """A config with an output and a work directory of its own; all read the same input."""
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", SMALL_CELLS)

    def config(name: str, sharding: str = "on", **more: Any) -> Path:
        (tmp_path / name).mkdir()
        given: dict[str, Any] = {
            **EXACT, "block": {"size": [16, 20, 40]}, "segment": {"threshold": 0.6},
            "apply": {"chunk_size": [4, 8, 8], "mips": 3, "sharding": sharding}, **more,
        }  # fmt: skip
        return volumes.write_config(tmp_path / name, given, input=affinity)

    return config


def shards(config: Path) -> dict[str, bytes]:
    root = config.parent / "segmentation"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.shard")}


def times(config: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in (config.parent / "segmentation").rglob("*.shard")}


def assert_same(run: Run, expected: list[Array]) -> None:
    for found, wanted in zip(volumes.all_mips(run), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def by_cloud_volume(config: Path, mip: int) -> Array:
    from cloudvolume import CloudVolume

    opened = CloudVolume(f"file://{config.parent}/segmentation", mip=mip, progress=False)
    found: Array = np.asarray(opened[:, :, :]).T[0]
    return found


@pytest.mark.usefixtures("childless")
def test_every_mip_is_that_of_an_unsharded_output(config_in: Maker) -> None:
    plain, config = config_in("plain", "off"), config_in("sharded")
    expected = volumes.all_mips(volumes.run_pipeline(plain))
    run = volumes.run_pipeline(config)
    assert_same(run, expected)
    for mip, wanted in enumerate(expected):
        np.testing.assert_array_equal(by_cloud_volume(config, mip), wanted)
    geometry, output = run.plan.geometry, config.parent / "segmentation"
    assert geometry.coarse_cells is not None  # downsample writes shards, too
    # one file for each cell and each of its mips; info, owner, objects and their list
    cells = len(geometry.cells) * 2 + len(geometry.coarse_cells) * 2
    assert len(shards(config)) == run.result("verify")["chunks"] == cells
    assert len([p for p in output.rglob("*") if p.is_file()]) == run.plan.files == cells + 5
    assert run.plan.files < len(list(plain.parent.joinpath("segmentation").rglob("*-*_*")))


@pytest.mark.parametrize("stage", ["apply", "downsample"])
@pytest.mark.parametrize("damage", ["cut off", "a bit", "gone"])
@pytest.mark.usefixtures("childless")
def test_a_shard_that_is_damaged_is_found_and_written_again(
    config_in: Maker, stage: str, damage: str
) -> None:
    config = config_in("one")
    expected = volumes.all_mips(volumes.run_pipeline(config))
    whole = shards(config)
    finest_first = sorted(whole, key=lambda name: int(name.partition("_")[0]))
    path = config.parent / "segmentation" / finest_first[0 if stage == "apply" else -1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if damage == "cut off" else data)
    if damage == "gone":
        path.unlink()
    found = volumes.run_pipeline(config, expect=65)
    (failure,) = found.result("verify")["failures"]
    assert f"{stage} cell" in failure["cause"] and path.name in failure["cause"]
    again = volumes.run_pipeline(config)
    assert len(again.made(stage)) == 1
    assert_same(again, expected)
    assert shards(config) == whole


@pytest.mark.parametrize("n", [1, 7, 20])
def test_kill_9_while_shards_are_written(config_in: Maker, n: int) -> None:
    config = config_in("one")
    run = volumes.plan_run(config, run="killed")
    volumes.run_stages(run, stages=["segment", "faces", *ROUNDS, "pool", "cut"])

    def killed() -> int:
        kill_at(n, "rename", "replace", when=lambda _, path: "segmentation" in str(path))
        return volumes.run_stages(run, stages=["apply", "downsample"]).code

    assert in_fork(killed) == -signal.SIGKILL
    volumes.release(run)
    volumes.run_pipeline(config)
    fresh = config_in("fresh")
    volumes.run_pipeline(fresh)
    assert shards(config) == shards(fresh)


@pytest.mark.usefixtures("childless")
def test_another_threshold_writes_the_shards_of_cells_that_differ(config_in: Maker) -> None:
    config = config_in("one")
    volumes.run_pipeline(config)
    before, old = times(config), shards(config)
    run = volumes.run_pipeline(config, {"segment.threshold": 0.59})
    now, new = times(config), shards(config)
    differ = {name for name in new if new[name] != old[name]}
    root = config.parent / "segmentation"
    again = {str(p.relative_to(root)) for p in now if now[p] != before[p]}
    assert differ <= again
    assert_same(run, volumes.all_mips(run))


@pytest.mark.usefixtures("childless")
def test_an_output_keeps_its_form_and_another_one_asks_for_another_place(config_in: Maker) -> None:
    config = config_in("one")
    volumes.run_pipeline(config)
    config.write_text(config.read_text().replace("sharding: 'on'", "sharding: auto"))
    assert "sharding: auto" in config.read_text()
    again = volumes.plan_run(config)
    assert again.plan.nothing_to_do
    volumes.release(again)
    with pytest.raises(ConfigError, match="apply.sharding"):
        volumes.plan_run(config, {"apply.sharding": "off"})


def test_yaml_takes_on_and_off_for_true_and_false(config_in: Maker) -> None:
    """So `on` needs no quotes."""
    config = config_in("one")
    plain = config.read_text().replace("'on'", "on")
    assert "sharding: on\n" in plain
    config.write_text(plain)
    assert volumes.plan_run(config).plan.geometry.sharded
