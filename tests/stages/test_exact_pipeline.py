"""``method: exact`` through the real stages and stores: the blocks leave no trace."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan import cost_exact as exact_projection
from magneton_tasks.plan import exact_tree as exact_plan
from magneton_tasks.plan.stage_table import JOINS, STAGES
from tests.helpers import volumes
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.real_data import needs_shared_data, pub128
from tests.helpers.volumes import Array, Run, in_fork, kill_at

SHAPE = (24, 40, 36)
#: Small volumes need small sizes, or all becomes one object.
EXACT: dict[str, Any] = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "dust": 15, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": [24, 40, 36]},
}
WHOLE = [24, 40, 36]
#: block size, and how many levels join: more than one go by 2 x 2 x 2
GRIDS = [
    pytest.param([12, 20, 18], 1, id="2x2x2"),
    pytest.param([8, 14, 18], 1, id="3x3x2"),
    pytest.param([8, 14, 13], 2, id="3x3x3 as a tree of two levels"),
    pytest.param([5, 20, 18], 3, id="5x2x2 as a tree of three levels"),
    pytest.param([5, 14, 8], 3, id="5x3x5 as a tree of three levels", marks=pytest.mark.long),
    pytest.param([1, 40, 18], 5, id="one voxel thick"),
]


@pytest.fixture
def by_twos(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make plan join 2 x 2 x 2 groups, whatever memory allows."""

    return lambda: _join_by_twos(monkeypatch)


def _join_by_twos(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(exact_plan, "FLAT_BLOCKS", 0)
    patch.setattr(exact_plan, "FAN_INS", (2,))


def tissue(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Array:
    return volumes.affinities(volumes.cells(shape, 30, seed), noise=0.3, seed=seed)


def make(folder: Path, array: Array, block: list[int], **settings: Any) -> Path:
    """A volume with a config of the exact method; settings by dotted key with ``__``."""
    folder.mkdir(parents=True, exist_ok=True)
    volumes.write_precomputed(folder / "affinity", array)
    given = {**EXACT, "block": {"size": block}}
    given |= {key.replace("__", "."): value for key, value in settings.items()}
    return volumes.write_config(folder, given)


def segment(folder: Path, array: Array, block: list[int], **settings: Any) -> tuple[Run, Array]:
    run = volumes.run_pipeline(make(folder, array, block, **settings))
    return run, volumes.read_segmentation(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Array:
    return segment(tmp_path_factory.mktemp("one"), tissue(), WHOLE)[1]


@pytest.mark.parametrize(("block", "levels"), GRIDS)
def test_the_grid_leaves_no_trace(
    tmp_path: Path, by_twos: Callable[[], None], whole: Array, block: list[int], levels: int
) -> None:
    array = tissue()
    if levels > 1:
        by_twos()
    run, cut = segment(tmp_path / "cut", array, block)
    assert len(run.plan.geometry.grid) > 1
    assert run.plan.geometry.joins.levels == levels  # type: ignore[union-attr]
    assert [s for s in JOINS if run.codes.get(s)] == list(JOINS[:levels])
    assert len(np.unique(whole)) > 10
    assert volumes.same_partition(whole, cut)


def test_it_is_what_the_oracle_says(tmp_path: Path) -> None:
    array = tissue(shape=(6, 9, 8))
    run, found = segment(tmp_path, array, [3, 5, 4])

    expected = oracle(array, exact_settings(run.attempt.config, run.plan.threshold.value))
    assert volumes.same_partition(expected, found)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_other_types_are_quantised_voxel_by_voxel(tmp_path: Path, dtype: str) -> None:
    array = tissue(1)
    _, expected = segment(tmp_path / "uint8", array, [12, 20, 18])
    scale = 1 if dtype == "float32" else 65535
    other = (array.astype(np.float64) / 255 * scale).astype(dtype)
    _, found = segment(tmp_path / dtype, other, [12, 20, 18])
    assert (found == expected).all()


def test_a_cut_out_is_a_volume_of_its_own(tmp_path: Path) -> None:
    array, begin = tissue(2), (5, 8, 3)
    part = array[:, begin[0] : 20, begin[1] : 33, begin[2] : 30]
    _, expected = segment(tmp_path / "part", np.ascontiguousarray(part), [7, 9, 14])
    low = [o + b for o, b in zip(volumes.OFFSET, begin, strict=True)]
    high = [o + e for o, e in zip(volumes.OFFSET, (20, 33, 30), strict=True)]
    _, found = segment(tmp_path / "box", array, [7, 9, 14], box={"begin": low, "end": high})
    assert volumes.same_partition(expected, found)


def test_a_mask_and_empty_blocks(tmp_path: Path, by_twos: Callable[[], None]) -> None:
    array = tissue(3)
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 15:22, :] = 0
    mask[12:, :20, :18] = 0  # a whole block of the grid below
    url = volumes.write_precomputed(tmp_path / "mask", mask[None])
    _, whole = segment(tmp_path / "whole", array, WHOLE, mask={"path": url})
    by_twos()
    run, cut = segment(tmp_path / "cut", array, [6, 10, 18], mask={"path": url})
    assert any(r.state == "empty" for r in run.records("segment").values())
    assert (cut[mask == 0] == 0).all()
    assert volumes.same_partition(whole, cut)


def test_small_objects_are_left_out_over_all_blocks(tmp_path: Path) -> None:
    array = tissue(4)
    _, whole = segment(tmp_path / "whole", array, WHOLE, segment__min_size_vox=400)
    _, cut = segment(tmp_path / "cut", array, [12, 14, 18], segment__min_size_vox=400)
    sizes = np.unique(whole[whole > 0], return_counts=True)[1]
    assert sizes.min() >= 400 and (whole == 0).sum() > (array.max(0) == 0).sum()
    assert volumes.same_partition(whole, cut)


def test_batches_and_parts_and_their_order_change_nothing(tmp_path: Path) -> None:
    array, ids = tissue(5), []
    for name, reverse, parts in (("a", False, 1), ("b", True, 3)):
        config = make(tmp_path / name, array, [8, 14, 13], local__workers=3)
        run = volumes.run_pipeline(config, reverse=reverse, parts=parts)
        ids.append(volumes.read_segmentation(run))
    assert (ids[0] == ids[1]).all()


def test_a_rerun_does_nothing_and_a_new_threshold_all(tmp_path: Path) -> None:
    config = make(tmp_path, tissue(6), [12, 20, 18])
    first = volumes.run_pipeline(config)
    again = volumes.plan_run(config, run="again")
    volumes.release(again)
    assert again.plan.nothing_to_do
    assert not first.plan.nothing_to_do
    other = volumes.plan_run(config, {"segment.threshold": 0.7}, run="other")
    volumes.release(other)
    assert all(other.plan.work[s].todo for s in ("segment", "count", "join1", "pool", "apply"))


def test_a_changed_block_redoes_what_depends_on_it(
    tmp_path: Path, by_twos: Callable[[], None]
) -> None:
    by_twos()
    array = tissue(7)
    config = make(tmp_path, array, [12, 20, 9], input={"identity": "chunks"})
    volumes.run_pipeline(config)
    array[:, 20:, 36:, 33:] = 0  # in the chunk at the far corner alone
    volumes.write_precomputed(tmp_path / "affinity", array)
    for chunk in (tmp_path / "affinity").rglob("*_*_*"):
        chunk.touch()
    run = volumes.run_pipeline(config, run="again")
    _, expected = segment(tmp_path / "anew", array, [12, 20, 9])
    assert (volumes.read_segmentation(run) == expected).all()


# ------------------------------------------------------------------ killed at any point
@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Array:
    return segment(tmp_path_factory.mktemp("whole"), tissue(8), WHOLE)[1]


THREE_LEVELS = [4, 20, 18]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A volume that joins by three levels: what there is before each of its stages."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        _join_by_twos(patch)
        run = volumes.plan_run(make(folder, tissue(8), THREE_LEVELS))
        for stage in STAGES[: STAGES.index("pool") + 1]:
            if stage in run.plan.work:
                shutil.copytree(folder / "work", folder / stage)
                volumes.run_stages(run, stages=[stage])
        volumes.release(run)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def done_before(
    stopped: dict[str, Path], by_twos: Callable[[], None], tmp_path: Path
) -> Callable[[str], Run]:
    """A run of its own, of which the stages before one are done."""

    def copy(stage: str) -> Run:
        by_twos()
        for done in stopped[stage].glob("*-*"):
            shutil.copytree(done, tmp_path / "work" / done.name)
        given = {**EXACT, "block": {"size": THREE_LEVELS}}
        # paths.input decides fingerprints
        affinity = f"file://{stopped['affinity']}"
        return volumes.plan_run(volumes.write_config(tmp_path, given, input=affinity))

    return copy


@pytest.mark.parametrize(
    ("stage", "call", "n"),
    [
        ("segment", "rename", 3),  # labels and sizes of a block are in place, its residual isn't
        ("segment", "fsync", 15),
        ("count", "rename", 1),  # the contacts are written, but not in place
        ("join1", "rename", 1),
        ("join1", "fsync", 4),  # in the middle of the level
        ("join2", "rename", 1),
        ("join3", "rename", 1),
        ("join3", "fsync", 2),
        ("pool", "rename", 1),
    ],
)
def test_kill_9_in_any_stage_and_a_rerun_give_the_same(
    done_before: Callable[[str], Run], expected: Array, stage: str, call: str, n: int
) -> None:
    run = done_before(stage)
    assert run.plan.geometry.joins.levels == 3  # type: ignore[union-attr]
    assert next(s for s in STAGES if s in run.plan.work and run.plan.work[s].todo) == stage

    def killed() -> int:
        kill_at(n, call)
        return volumes.run_stages(run, stages=[stage]).code

    assert in_fork(killed) in (-signal.SIGKILL, 75)  # 75: it was the block's own child
    again = volumes.run_stages(Run(run.plan, run.attempt, run.draft))
    assert again.code == 0, again.codes
    volumes.release(again)
    assert volumes.same_partition(volumes.read_segmentation(again), expected)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_damaged_file_of_a_join_is_made_again(
    done_before: Callable[[str], Run], expected: Array, level: int
) -> None:
    run = done_before([*JOINS[1:3], "pool"][level - 1])
    (file, *_) = sorted((run.attempt.stage_dir(JOINS[level - 1]) / "residuals").rglob("*.zip"))
    file.write_bytes(file.read_bytes()[:-7])
    rest = [*JOINS[level:3], "pool"]
    codes = volumes.run_stages(run, stages=rest[:1]).codes[rest[0]]
    assert any(codes)
    volumes.release(run)
    again = volumes.run_pipeline(Path(run.plan.config_path), run="again")
    assert again.made(JOINS[level - 1]) == {0}
    assert volumes.same_partition(volumes.read_segmentation(again), expected)


def test_a_join_that_would_not_fit_is_refused_before_anything_starts(
    tmp_path: Path, by_twos: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_twos()
    monkeypatch.setattr(
        exact_projection, "JOIN_BYTES", dict.fromkeys(exact_projection.JOIN_BYTES, 10**7)
    )
    config = make(tmp_path, tissue(9), [12, 20, 18])
    with pytest.raises(
        ConfigError, match=r"joining 8 blocks may need [\d.]+ GiB .*more than 8\.0 GiB"
    ):
        volumes.plan_run(config)
    assert not list((tmp_path / "work").glob("segment-*"))


@needs_shared_data
@pytest.mark.parametrize(
    ("size", "n_blocks", "levels"),
    [
        pytest.param(32, 64, 2, id="64 blocks"),
        pytest.param(8, 4096, 4, id="4096 blocks", marks=pytest.mark.long),
    ],
)
def test_real_tissue_in_small_blocks(
    tmp_path: Path, by_twos: Callable[[], None], size: int, n_blocks: int, levels: int
) -> None:
    """Through the stores, in a tree of levels."""
    array = pub128()
    settings = {"exact": {}, "segment": {"threshold": 0.3}}
    _, whole = segment(tmp_path / "whole", array, [128, 128, 128], **settings)
    by_twos()
    run, cut = segment(tmp_path / "cut", array, [size] * 3, **settings)
    assert len(run.plan.geometry.grid) == n_blocks
    assert run.plan.geometry.joins.levels == levels  # type: ignore[union-attr]
    assert volumes.same_partition(whole, cut)
