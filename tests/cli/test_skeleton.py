"""``magneton skeleton CONFIG ID...``: SWC of chosen objects, and what it says of those that have none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.errors import EXIT_BAD_DATA, EXIT_NO_INPUT, EXIT_USAGE
from magneton_tasks.formats.precomputed import skeletons
from magneton_tasks.formats.precomputed.keyed_shards import InMemory, KeyedSharding, ShardWriter
from magneton_tasks.stages.object_list import TABLE
from magneton_tasks.work import parquet
from tests.helpers import volumes
from tests.helpers.calls import Caller, Done

LARGE, DUST, LOST = 2**53 + 1, 7, 8
SHARDING = KeyedSharding(0, 0, data_encoding="gzip")


def failed(done: Done, code: int) -> str:
    """What it said when it ended with this exit code."""
    assert done.code == code, done
    return done.err


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a finished output that holds one skeleton, and an object that should have one."""
    output = tmp_path / "segmentation"
    folder = output / skeletons.FOLDER
    folder.mkdir(parents=True)
    (output / "info").write_text(json.dumps({"skeletons": "skeletons"}))
    (folder / "info").write_text(json.dumps(skeletons.content(SHARDING.to_info())))
    file = InMemory()
    writer = ShardWriter(file, SHARDING)
    line = np.array([[0, 0, 0], [0, 0, 3000]], np.float64)
    value = skeletons.encode(line, np.array([[0, 1]]), np.array([50, 60], np.float32))
    writer.add(LARGE, value)
    writer.finish()
    (folder / SHARDING.file_name(0)).write_bytes(bytes(file))
    ids, um3 = np.array([DUST, LOST, LARGE], np.uint64), np.array([1e-6, 2.0, 3.0])
    table = parquet.encode([{"id": ids, "um3": um3}], rising=("id",))
    (output / TABLE).write_bytes(bytes(table))
    return volumes.write_config(tmp_path, {"skeleton": {"mip": 1}})


def test_a_file_for_each_id_that_has_one(config: Path, cli: Caller, tmp_path: Path) -> None:
    done = cli("skeleton", config, LARGE, LARGE, "-o", tmp_path / "swc")
    (path,) = (tmp_path / "swc").iterdir()
    assert path.name == f"{LARGE}.swc"
    assert "2 0 0.0000 0.0000 0.0000 0.0500 1" in path.read_text().splitlines()
    assert f"{path}: 2 vertices, 3.0 um" in done.out


def test_an_id_without_one_is_told_and_the_others_are_written(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    done = cli("skeleton", config, DUST, 4, LARGE, LOST, "-o", tmp_path)
    assert (tmp_path / f"{LARGE}.swc").is_file() and len(list(tmp_path.glob("*.swc"))) == 1
    told = dict(line.split(": ", 1) for line in failed(done, EXIT_NO_INPUT).splitlines())
    assert "dust" in told[str(DUST)] and "dust_um3" in told[str(DUST)]
    assert "no such object" in told["4"]
    assert "status --check" in told[str(LOST)] and "2 um^3" in told[str(LOST)]


def test_without_skeletons_it_says_how_to_get_them(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    (tmp_path / "segmentation" / "info").write_text("{}")
    assert "yet" in failed(cli("skeleton", config, LARGE), EXIT_NO_INPUT)
    other = volumes.write_config(tmp_path)
    assert "skeleton: {mip: 2}" in failed(cli("skeleton", other, LARGE), EXIT_NO_INPUT)


def test_damage_is_told(config: Path, cli: Caller, tmp_path: Path) -> None:
    shard = tmp_path / "segmentation" / skeletons.FOLDER / SHARDING.file_name(0)
    shard.write_bytes(shard.read_bytes()[:-30])
    assert str(shard) in failed(cli("skeleton", config, LARGE), EXIT_BAD_DATA)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="nothing"),
        pytest.param(["CONFIG"], id="no ids"),
        pytest.param(["CONFIG", "0"], id="no object"),
        pytest.param(["CONFIG", "1", "--batch", "3"], id="the stage's option"),
        pytest.param(["--run", "attempt", "CONFIG"], id="both"),
        pytest.param(["CONFIG", "1", "--threshold", ".3"], id="there is one result"),
    ],
)
def test_wrong_commands(config: Path, cli: Caller, arguments: list[str]) -> None:
    given = [str(config) if a == "CONFIG" else a for a in arguments]
    assert failed(cli("skeleton", *given), EXIT_USAGE)
