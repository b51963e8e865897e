"""A further threshold in the same output writes only the cells that differ, whatever lay there before."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.plan import geometry as geometries
from magneton_tasks.plan.stage_table import ROUNDS
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run, in_fork, kill_at, read_owner, read_segmentation
from tests.stages.test_exact_pipeline import EXACT

pytestmark = pytest.mark.usefixtures("childless")

SHAPE = (16, 16, 128)
LOW, HIGH = 0.3, 0.7
#: The walls at this end (x) stand at `HIGH` and fall at `LOW`; the others always stand.
WEAK = 24
#: Chunks of the four cells at mip 0 and 1, and those of the two that the weak end reaches into.
CHUNKS, CHUNKS_THAT_DIFFER = 80, 40
#: Those that downsample makes of smaller cells, of mips 2 and 3; and those of one of its two cells.
COARSE, COARSE_THAT_DIFFER = 6, 3


def affinity() -> Array:
    labels = volumes.cells(SHAPE, 40, 3)
    array = volumes.affinities(labels, noise=0.1, seed=3)
    for axis in range(3):
        here, out = np.moveaxis(labels, axis, 0), np.moveaxis(array[axis], axis, 0)
        is_wall = np.zeros(out.shape, np.bool_)
        is_wall[1:] = here[1:] != here[:-1]
        weak = np.moveaxis(is_wall, 0, axis)
        weak[..., WEAK:] = False
        array[axis][weak] = 128
    return array


Maker = Callable[[str], Path]


@pytest.fixture
def config_in(tmp_path: Path) -> Maker:
    """A config with an output and a work directory of its own; all read the same input."""
    url = volumes.write_precomputed(tmp_path / "affinity", affinity())

    def config(name: str) -> Path:
        (tmp_path / name).mkdir()
        given: dict[str, Any] = {
            **EXACT, "block": {"size": [16, 16, 32]}, "segment": {"threshold": HIGH},
            "apply": {"chunk_size": [8, 8, 8], "mips": 1},
        }  # fmt: skip
        return volumes.write_config(tmp_path / name, given, input=url)

    return config


def at(config: Path, threshold: float, run: str, **more: object) -> Run:
    return volumes.run_pipeline(config, {"segment.threshold": threshold, **more}, run=run)


def chunks(config: Path) -> dict[Path, int]:
    """When each was written."""
    return {p: p.stat().st_mtime_ns for p in (config.parent / "segmentation").rglob("*-*_*")}


def written_again(config: Path, before: dict[Path, int]) -> int:
    now = chunks(config)
    assert now.keys() == before.keys()
    return sum(now[path] != time for path, time in before.items())


def test_cells_that_are_the_same_stay(config_in: Maker) -> None:
    config = config_in("one")
    at(config, HIGH, "first")
    before = chunks(config)
    other = at(config, LOW, "other")
    assert not any(other.codes.get(s) for s in ("segment", "faces", *ROUNDS))
    assert (len(before), written_again(config, before)) == (CHUNKS, CHUNKS_THAT_DIFFER)
    owner = read_owner(config)
    assert owner["threshold"] == LOW and owner["finished"]["run"] == "other"
    fresh = read_segmentation(at(config_in("fresh"), LOW, "fresh"))
    assert (read_segmentation(other) == fresh).all()


def test_there_and_back_again(config_in: Maker) -> None:
    config = config_in("one")
    first = read_segmentation(at(config, HIGH, "first"))
    at(config, LOW, "other")
    before = chunks(config)
    back = at(config, HIGH, "back")
    assert written_again(config, before) == CHUNKS_THAT_DIFFER
    assert (read_segmentation(back) == first).all()


def test_where_no_cell_differs_the_output_is_known_as_the_new_result(config_in: Maker) -> None:
    config = config_in("one")
    at(config, HIGH, "first")
    before = chunks(config)
    at(config, HIGH - 0.001, "other")
    owner = read_owner(config)
    assert written_again(config, before) == 0
    assert owner["threshold"] == HIGH - 0.001 and owner["finished"]["run"] == "other"


@pytest.mark.parametrize("then", [HIGH, LOW], ids=["back", "on"])
@pytest.mark.parametrize("n", [1, 12, 30])
def test_kill_9_while_cells_are_written_over(config_in: Maker, then: float, n: int) -> None:
    """A cell of which some chunks are new and some old counts for neither threshold."""
    config = config_in("one")
    at(config, HIGH, "first")
    run = volumes.plan_run(config, {"segment.threshold": LOW}, run="killed")
    volumes.run_stages(run, stages=["pool", "cut"])

    def killed() -> int:
        kill_at(n, "rename", "replace")
        return volumes.run_stages(run, stages=["apply"]).code

    assert in_fork(killed) == -signal.SIGKILL
    volumes.release(run)
    found = read_segmentation(at(config, then, "then"))
    fresh = read_segmentation(at(config_in("fresh"), then, "fresh"))
    assert (found == fresh).all()


@pytest.fixture
def coarse_in(config_in: Maker, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """As `config_in`, with two mips that don't fit into a cell of apply: in two coarse cells."""
    monkeypatch.setattr(geometries, "MAX_CELL_VOXELS", 2048)

    def config(name: str) -> Path:
        made = config_in(name)
        made.write_text(made.read_text().replace("mips: 1", "mips: 3"))
        return made

    return config


def coarse(config: Path, before: dict[Path, int]) -> tuple[int, int]:
    """Chunks of the coarsest two mips: how many there are, and how many were written again."""
    now, finest = chunks(config), sorted({p.parent.name for p in before}, key=_voxel)[:2]
    found = {p: time for p, time in before.items() if p.parent.name not in finest}
    return len(found), sum(now[path] != time for path, time in found.items())


def _voxel(scale: str) -> int:
    return int(scale.partition("_")[0])


def test_coarse_cells_that_are_the_same_stay_there_and_back_again(coarse_in: Maker) -> None:
    config = coarse_in("one")
    first = volumes.all_mips(at(config, HIGH, "first"))
    before = chunks(config)
    other = at(config, LOW, "other")
    assert set(other.codes["downsample"]) == {0}
    assert coarse(config, before) == (COARSE, COARSE_THAT_DIFFER)
    assert_same(other, volumes.all_mips(at(coarse_in("fresh"), LOW, "fresh")))
    before = chunks(config)
    back = at(config, HIGH, "back")
    assert coarse(config, before) == (COARSE, COARSE_THAT_DIFFER)
    assert_same(back, first)


def assert_same(run: Run, expected: list[Array]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


@pytest.mark.parametrize("then", [HIGH, LOW], ids=["back", "on"])
def test_kill_9_while_a_coarse_cell_is_written_over(coarse_in: Maker, then: float) -> None:
    """Of its three chunks one is new, and two are old."""
    config = coarse_in("one")
    at(config, HIGH, "first")
    before = chunks(config)
    run = volumes.plan_run(config, {"segment.threshold": LOW}, run="killed")
    volumes.run_stages(run, stages=["pool", "cut", "apply"])

    def killed() -> int:
        kill_at(2, "rename", "replace", when=lambda _, path: "segmentation" in str(path))
        return volumes.run_stages(run, stages=["downsample"]).code

    assert in_fork(killed) == -signal.SIGKILL
    assert coarse(config, before) == (COARSE, 1)
    volumes.release(run)
    found = at(config, then, "then")
    assert_same(found, volumes.all_mips(at(coarse_in("fresh"), then, "fresh")))


def test_what_is_half_written_over_is_not_called_finished(config_in: Maker) -> None:
    """Apply ends, or is killed, before verify looks at anything."""
    config = config_in("half")
    at(config, HIGH, "first")
    finished = read_owner(config)
    assert finished["finished"] and finished["threshold"] == HIGH
    begun = volumes.plan_run(config, {"segment.threshold": LOW}, run="begun")
    before = chunks(config)
    volumes.run_stages(begun, stages=["pool", "cut"])
    assert read_owner(config) == finished, "nothing is written over yet"
    volumes.run_stages(begun, stages=["apply"])
    assert written_again(config, before) == CHUNKS_THAT_DIFFER
    owner = read_owner(config)
    assert (owner["finished"], owner["threshold"], owner["run"]) == (None, LOW, "begun")
    volumes.release(begun)


def test_another_encoding_in_between_is_written_over(config_in: Maker) -> None:
    """The records of before tell of files that aren't there any more."""
    config = config_in("one")
    first = read_segmentation(at(config, HIGH, "first"))
    at(config, LOW, "raw", **{"apply.encoding": "raw"})
    before = chunks(config)
    back = at(config, HIGH, "back")
    assert written_again(config, before) == CHUNKS
    assert (read_segmentation(back) == first).all()
