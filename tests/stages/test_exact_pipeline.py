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
from magneton_tasks.plan.stage_table import ROUNDS, STAGES
from magneton_tasks.stages.planning import group_work
from tests.helpers import volumes
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.real_data import needs_shared_data, pub128
from tests.helpers.volumes import Array, Run, in_fork, kill_at

pytestmark = pytest.mark.usefixtures("childless")

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
#: block size, and rows that a task may hold: few make many rounds
GRIDS = [
    pytest.param([12, 20, 18], None, id="2x2x2 in one group"),
    pytest.param([8, 14, 18], 5000, id="3x3x2"),
    pytest.param([8, 14, 13], 3000, id="3x3x3", marks=pytest.mark.long),
    pytest.param([5, 14, 8], 1, id="5x3x5, a block each", marks=pytest.mark.long),
    pytest.param([1, 40, 18], 1, id="one voxel thick", marks=pytest.mark.long),
]


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make tasks of rounds hold few rows, whatever memory allows."""
    return lambda rows: _small_groups(monkeypatch, rows)


def _small_groups(patch: pytest.MonkeyPatch, rows: int) -> None:
    patch.setattr(group_work, "budget_of", lambda *_: rows)


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


@pytest.mark.parametrize(("block", "rows"), GRIDS)
def test_the_grid_leaves_no_trace(
    tmp_path: Path,
    small_groups: Callable[[int], None],
    whole: Array,
    block: list[int],
    rows: int | None,
) -> None:
    array = tissue()
    if rows is not None:
        small_groups(rows)
    run, cut = segment(tmp_path / "cut", array, block)
    assert len(run.plan.geometry.grid) > 1
    done = [s for s in ROUNDS if run.codes.get(s)]
    assert (len(done) > 1) == (rows is not None)
    assert len(np.unique(whole)) > 10
    assert volumes.same_partition(whole, cut)


def test_blocks_may_be_one_voxel_thick(tmp_path: Path, small_groups: Callable[[int], None]) -> None:
    array = tissue(4, shape=(5, 40, 36))
    _, whole = segment(tmp_path / "whole", array, [5, 40, 36])
    small_groups(1)
    _, cut = segment(tmp_path / "cut", array, [1, 40, 18])
    assert len(np.unique(whole)) > 5
    assert volumes.same_partition(whole, cut)


def test_it_is_what_the_oracle_says(tmp_path: Path) -> None:
    array = tissue(shape=(6, 9, 8))
    run, found = segment(tmp_path, array, [3, 5, 4])

    expected = oracle(array, exact_settings(run.attempt.config, run.plan.threshold.number))
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
    _, expected = segment(tmp_path / "part", np.ascontiguousarray(part), [8, 13, 14])
    low = [o + b for o, b in zip(volumes.OFFSET, begin, strict=True)]
    high = [o + e for o, e in zip(volumes.OFFSET, (20, 33, 30), strict=True)]
    _, found = segment(tmp_path / "box", array, [8, 13, 14], box={"begin": low, "end": high})
    assert volumes.same_partition(expected, found)


def test_a_mask_and_empty_blocks(tmp_path: Path, small_groups: Callable[[int], None]) -> None:
    array = tissue(3)
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 15:22, :] = 0
    mask[12:, :20, :18] = 0  # a whole block of the grid below
    url = volumes.write_precomputed(tmp_path / "mask", mask[None])
    _, whole = segment(tmp_path / "whole", array, WHOLE, mask={"path": url})
    small_groups(3000)
    run, cut = segment(tmp_path / "cut", array, [12, 20, 18], mask={"path": url})
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
        config = make(tmp_path / name, array, [12, 14, 18], local__workers=3)
        run = volumes.run_pipeline(config, reverse=reverse, parts=parts)
        ids.append(volumes.read_segmentation(run))
    assert (ids[0] == ids[1]).all()


def test_a_rerun_does_nothing_and_a_new_threshold_recomputes_no_block(
    tmp_path: Path, small_groups: Callable[[int], None]
) -> None:
    small_groups(3000)
    array = tissue(6)
    config = make(tmp_path / "cut", array, [12, 20, 18])
    first = volumes.run_pipeline(config)
    again = volumes.plan_run(config, run="again")
    volumes.release(again)
    assert again.plan.nothing_to_do
    assert not first.plan.nothing_to_do
    other = volumes.run_pipeline(config, {"segment.threshold": 0.7}, run="other")
    work = other.plan.work
    assert not any(work[s].todo for s in ("segment", "faces", *ROUNDS))
    assert not any(other.codes.get(s) for s in ("segment", "faces", *ROUNDS))
    assert all(work[s].todo for s in ("pool", "cut", "apply"))
    _, expected = segment(tmp_path / "whole", array, WHOLE, segment__threshold=0.7)
    assert volumes.same_partition(volumes.read_segmentation(other), expected)


def test_below_the_lowest_threshold_blocks_are_segmented_again(tmp_path: Path) -> None:
    settings = {**EXACT["exact"], "lowest_threshold": 0.4}
    config = make(tmp_path, tissue(6), [12, 20, 18], exact=settings)
    volumes.run_pipeline(config)
    above = volumes.plan_run(config, {"segment.threshold": 0.4}, run="above")
    volumes.release(above)
    below = volumes.plan_run(config, {"segment.threshold": 0.39}, run="below")
    volumes.release(below)
    assert not above.plan.work["segment"].todo
    assert below.plan.work["segment"].todo
    (note,) = set(below.plan.notes) - set(above.plan.notes)
    assert note.startswith("segment.threshold 0.39 lies below exact.lowest_threshold 0.4")
    assert note.endswith("they are computed again")


def test_a_changed_block_redoes_what_depends_on_it(
    tmp_path: Path, small_groups: Callable[[int], None]
) -> None:
    small_groups(3000)
    array = tissue(7)
    config = make(tmp_path, array, [12, 20, 18], input={"identity": "chunks"})
    volumes.run_pipeline(config)
    array[:, 20:, 36:, 33:] = 0  # in the chunk at the far corner alone
    volumes.write_precomputed(tmp_path / "affinity", array)
    for chunk in (tmp_path / "affinity").rglob("*_*_*"):
        chunk.touch()
    run = volumes.run_pipeline(config, run="again")
    _, expected = segment(tmp_path / "anew", array, [12, 20, 18])
    assert (volumes.read_segmentation(run) == expected).all()


# ------------------------------------------------------------------ killed at any point
@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Array:
    return segment(tmp_path_factory.mktemp("whole"), tissue(8), WHOLE)[1]


MANY_BLOCKS = [8, 20, 18]
#: Rows that a task may hold: with these blocks there are at least three rounds.
FEW_ROWS = 6000


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A volume of several rounds: what there is before each of its stages."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        _small_groups(patch, FEW_ROWS)
        run = volumes.plan_run(make(folder, tissue(8), MANY_BLOCKS))
        for stage in STAGES[: STAGES.index("cut") + 1]:
            if stage in run.plan.work:
                shutil.copytree(folder / "work", folder / stage)
                volumes.run_stages(run, stages=[stage])
        volumes.release(run)
    assert len(list((folder / "work").glob("rounds-*/2"))) == 1
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def done_before(
    stopped: dict[str, Path], small_groups: Callable[[int], None], tmp_path: Path
) -> Callable[[str], Run]:
    """A run of its own, of which the stages before one are done."""

    def copy(stage: str) -> Run:
        small_groups(FEW_ROWS)
        for done in stopped[stage].glob("*-*"):
            shutil.copytree(done, tmp_path / "work" / done.name)
        given = {**EXACT, "block": {"size": MANY_BLOCKS}}
        # paths.input decides fingerprints
        affinity = f"file://{stopped['affinity']}"
        return volumes.plan_run(volumes.write_config(tmp_path, given, input=affinity))

    return copy


@pytest.mark.parametrize(
    ("stage", "call", "n"),
    [
        ("segment", "rename", 3),  # labels of a block are in place, its residual isn't
        ("segment", "fsync", 15),
        ("faces", "rename", 1),  # written, but not in place
        ("round0", "rename", 1),
        ("round0", "fsync", 4),
        ("round1", "rename", 2),  # names are in place, what is sent isn't
        ("round2", "rename", 1),
        ("pool", "rename", 1),
        ("cut", "rename", 1),
    ],
)
def test_kill_9_in_any_stage_and_a_rerun_give_the_same(
    done_before: Callable[[str], Run],
    expected: Array,
    stage: str,
    call: str,
    n: int,
    children: None,
) -> None:
    run = done_before(stage)

    def killed() -> int:
        kill_at(n, call)
        return volumes.run_stages(run, stages=[stage]).code

    assert in_fork(killed) in (-signal.SIGKILL, 75)  # 75: it was the block's own child
    again = volumes.run_stages(Run(run.plan, run.attempt, run.draft))
    assert again.code == 0, again.codes
    volumes.release(again)
    assert volumes.same_partition(volumes.read_segmentation(again), expected)


def test_another_budget_takes_over_the_rounds_that_are_planned(
    done_before: Callable[[str], Run], expected: Array, small_groups: Callable[[int], None]
) -> None:
    run = done_before("round1")
    volumes.release(run)
    plans = {p: p.read_bytes() for p in run.attempt.work.work.glob("rounds-*/*/plan-*.json")}
    small_groups(10**9)
    again = volumes.run_pipeline(Path(run.plan.config_path), run="again")
    assert not again.codes.get("round0")
    assert all(p.read_bytes() == data for p, data in plans.items())
    assert len(list(again.attempt.work.work.glob("rounds-*/0/plan-*.json"))) == 1
    assert volumes.same_partition(volumes.read_segmentation(again), expected)


@pytest.mark.parametrize(
    ("before", "stage", "name"),
    [
        ("faces", "segment", "residuals/*/*.zip"),
        ("round0", "faces", "faces-*"),
        ("round1", "round0", "sent-*"),
        ("round1", "round0", "names-*"),
        ("cut", "segment", "supervoxels-*"),
        ("cut", "round1", "names-*"),
    ],
)
def test_a_damaged_file_is_made_again(
    done_before: Callable[[str], Run], expected: Array, before: str, stage: str, name: str
) -> None:
    run = done_before(before)
    file = min(run.attempt.stage_dir(stage).glob(name))
    file.write_bytes(file.read_bytes()[:-7])
    codes = volumes.run_stages(run, stages=[before]).codes[before]
    assert any(codes)
    volumes.release(run)
    again = volumes.run_pipeline(Path(run.plan.config_path), run="again")
    assert again.made(stage)
    assert volumes.same_partition(volumes.read_segmentation(again), expected)


@needs_shared_data
@pytest.mark.parametrize(
    ("edge", "size", "n_blocks", "rows"),
    [
        pytest.param(64, 32, 8, 20_000, id="8 blocks"),
        pytest.param(128, 32, 64, 20_000, id="64 blocks", marks=pytest.mark.long),
        pytest.param(128, 8, 4096, 20_000, id="4096 blocks", marks=pytest.mark.long),
    ],
)
def test_real_tissue_in_small_blocks(
    tmp_path: Path,
    small_groups: Callable[[int], None],
    edge: int,
    size: int,
    n_blocks: int,
    rows: int,
) -> None:
    """Through the stores, in several rounds."""
    array = np.ascontiguousarray(pub128()[:, :edge, :edge, :edge])
    settings = {"exact": {}, "segment": {"threshold": 0.3}}
    _, whole = segment(tmp_path / "whole", array, [edge] * 3, **settings)
    small_groups(rows)
    run, cut = segment(tmp_path / "cut", array, [size] * 3, **settings)
    assert len(run.plan.geometry.grid) == n_blocks
    assert run.codes.get("round1")
    assert volumes.same_partition(whole, cut)
