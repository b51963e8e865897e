"""Status, clean, damage and reports of volumes that were segmented by the exact method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.outcome import report
from magneton_tasks.outcome.page import frozen
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan import exact_tree as exact_plan
from magneton_tasks.work.events import Failed, Settled
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Array, Run

Copy = Callable[[], Path]
SHAPE = (20, 36, 36)
SETTINGS: dict[str, Any] = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "dust": 15, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": [10, 12, 12]},
}


@pytest.fixture(autouse=True, scope="module")
def by_twos() -> Iterator[None]:
    """Groups of 2 x 2 x 2, whatever memory allows: two levels of joins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_plan, "FLAT_BLOCKS", 0)
        patch.setattr(exact_plan, "FAN_INS", (2,))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Noisy cells in 2 x 3 x 3 blocks; nobody writes here again."""
    folder = tmp_path_factory.mktemp("exact")
    array = volumes.affinities(volumes.cells(SHAPE, 20), noise=0.3)
    array[:, :11, :13, :13] = 0  # so the first block is empty
    return volumes.run_pipeline(volumes.make_volume(folder, array, SETTINGS), run="base")


@pytest.fixture(scope="module")
def expected(base: Run) -> Array:
    return volumes.read_segmentation(base)


@pytest.fixture
def config(base: Run, tmp_path: Path) -> Path:
    """Of a finished volume: a copy of the base run's."""
    source = Path(base.plan.config_path).parent
    for name in ("work", "segmentation"):
        shutil.copytree(source / name, tmp_path / name)
    path = volumes.write_config(tmp_path, SETTINGS, input=f"file://{source}/affinity")
    volumes.run_pipeline(path, run="mine", overwrite_output=True)
    return path


def work(config: Path) -> Path:
    return config.parent / "work"


# ------------------------------------------------------------------ status
def test_status_has_a_row_for_each_level_of_joins(config: Path, cli: Caller) -> None:
    data = cli("status", config, "--json", "--slow", "40", "--missing").json
    totals = {s["stage"]: (s["done"], s["empty"], s["total"]) for s in data["stages"]}
    assert totals["segment"] == (17, 1, 18) and totals["count"] == (18, 0, 18)
    assert (totals["join1"], totals["join2"]) == ((4, 0, 4), (1, 0, 1))
    assert "join3" not in totals
    assert data["missing"] == []
    assert {b["stage"] for b in data["slow"]} >= {"segment", "join1", "join2", "apply"}
    text = cli("status", config).out
    assert [line.split()[0] for line in text.splitlines() if line.startswith("join")] == [
        "join1",
        "join2",
    ]


def test_status_names_the_groups_that_are_to_do(config: Path, cli: Caller) -> None:
    run = volumes.plan_run(config, run="look")
    volumes.release(run)
    run.attempt.invalidate("join1", {2: "lost"})
    assert cli("status", config, "--json", "--missing").json["missing"] == []
    assert (
        "join1: nothing is needed, because these blocks are pooled already"
        in cli("status", config).out
    )
    assert volumes.run_pipeline(config, run="idle").plan.nothing_to_do
    run.attempt.invalidate("pool", {0: "lost"})
    found = cli("status", config, "--json", "--missing").json["missing"]
    assert [(b["stage"], b["key"]) for b in found if b["stage"].startswith("join")] == [
        ("join1", 2)
    ]
    (group,) = [b for b in found if b["stage"] == "join1"]
    assert group["position"] == [0, 1, 0] and group["begin_vox"][1] == volumes.OFFSET[1] + 24
    again = volumes.run_pipeline(config, run="again")
    assert (again.made("segment"), again.made("join1"), again.made("join2")) == (set(), {2}, set())


@pytest.mark.parametrize(
    ("pattern", "stage", "key", "n"),
    [
        ("segment-*/residuals/0000/4.zip", "segment", 4, 1),
        ("count-*/contacts-*.parquet", "count", None, 18),
        ("join-*/level-1/residuals/0000/3.zip", "join1", 3, 1),
        ("join-*/level-2/residuals/0000/0.zip", "join2", 0, 1),
    ],
)
def test_check_finds_damaged_files(
    pattern: str, stage: str, key: int | None, n: int, config: Path, cli: Caller
) -> None:
    (path,) = work(config).glob(pattern)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    data = cli("status", config, "--check", "--json").json
    found = {s["stage"]: s["damage"] for s in data["stages"] if s["damage"]}
    assert set(found) == {stage}
    assert {d["file"] for d in found[stage]} == {str(path)}
    assert 0 < len(found[stage]) <= n
    assert key is None or found[stage][0]["key"] == key


def test_the_live_table_counts_groups() -> None:
    row = StageSummary("join1", 8, 8)
    row.take(Settled("join1", 3, "done", 1.0, 1.0, 120 << 20, 1, 8, "5 joins, 2 regions open"))
    row.take(Failed("join1", 4, 75, "disk full", time=2.0))
    assert (row.done, row.counts["failed"]) == (1, 1)


# ------------------------------------------------------------------ clean
def test_all_that_a_run_writes_is_known_to_be_ours(config: Path, cli: Caller) -> None:
    kinds = ("results/join1-0000.json", "logs/join1-0000.log", "logs/join2-block-0.log")
    (attempt,) = work(config).glob("runs/mine/*")
    for name in kinds:
        (attempt / name).touch()
    found = cli("clean", config, "--what", "all", "--dry-run", "--json").json
    assert found["left_alone"] == []
    listed = {Path(i["path"]).name.partition("-")[0] for i in found["items"]}
    assert listed >= {"segment", "count", "join", "pool", "apply"}


@pytest.mark.parametrize(
    ("what", "gone", "nothing_to_do"),
    [
        ("cache", ("segment-*/labels.zarr", "segment-*/residuals", "join-*/*/residuals"), True),
        ("records", ("count-*", "join-*", "pool-*"), False),
        ("all", ("segment-*", "count-*", "join-*", "pool-*"), False),
    ],
)
def test_each_kind_frees_what_it_says_and_the_rerun_gives_the_same_voxels(
    what: str,
    gone: tuple[str, ...],
    nothing_to_do: bool,
    config: Path,
    cli: Caller,
    expected: Array,
) -> None:
    done = cli("clean", config, "--what", what, "--yes")
    assert done.code == 0, done.err
    assert not [path for pattern in gone for path in work(config).glob(pattern)]
    run = volumes.run_pipeline(config, run="again")
    assert run.plan.nothing_to_do == nothing_to_do
    assert (volumes.read_segmentation(run) == expected).all()


def test_what_was_cleaned_is_made_again_where_pool_needs_it(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    other = {"segment.min_size_vox": 300}
    elsewhere = {"paths.work": f"{tmp_path}/w", "paths.output": f"file://{tmp_path}/s"}
    whole = volumes.run_pipeline(config, {**other, **elsewhere}, run="whole")
    said = cli("clean", config, "--yes").out
    assert "joins of a verified volume: needed only if pool is done again" in said
    text = cli("status", config).out
    assert "join1: the files of 4 groups were cleaned" in text
    assert "segment: the labels of 17 blocks were cleaned" in text
    run = volumes.run_pipeline(config, other, run="again")
    assert run.made("segment") == set(range(1, 18))  # block 0 is empty
    assert run.made("count") == set()
    assert (run.made("join1"), run.made("join2")) == (set(range(4)), {0})
    assert (volumes.read_segmentation(run) == volumes.read_segmentation(whole)).all()
    assert (volumes.read_segmentation(run) == 0).sum() > 0


def test_an_interrupted_run_goes_on_after_a_clean(
    base: Run, config: Path, cli: Caller, tmp_path: Path, expected: Array
) -> None:
    """Cleaned between the levels: level 2 needs what level 1 left open."""
    elsewhere = {"paths.work": f"{tmp_path}/w", "paths.output": f"file://{tmp_path}/s"}
    other = volumes.write_config(
        config.parent,
        SETTINGS,
        input=base.attempt.config.paths.input,
        work=elsewhere["paths.work"],
        output=elsewhere["paths.output"],
    )
    run = volumes.run_stages(volumes.plan_run(other), stages=["segment", "count", "join1"])
    volumes.release(run)
    assert "the next run joins again" in cli("clean", other, "--yes").out
    # whoever goes on with the old plan is told
    volumes.run_stages(run, stages=["join2"])
    volumes.release(run)
    assert run.codes["join2"] == [75]
    cause = run.result("join2", 0)["failures"][0]["cause"]
    assert "its files were removed by `magneton clean`" in cause
    again = volumes.run_pipeline(other, run="again")
    assert again.made("join1") == set(range(4))
    assert (volumes.read_segmentation(again) == expected).all()


# ------------------------------------------------------------------ the report
def test_the_report_tells_what_stays_open(base: Run) -> None:
    data = json.loads(base.attempt.paths.report.read_text())
    stages = {s["stage"]: s for s in data["stages"]}
    assert [s for s in stages if stages[s]["open"]] == ["segment", "join1", "join2"]
    blocks, first, top = (stages[s]["open"] for s in ("segment", "join1", "join2"))
    assert blocks["edges"] > first["edges"] > top["edges"] == top["regions"] == 0
    z, y, x = SHAPE
    assert blocks["face_voxels"] == 2 * (y * x + 2 * z * x + 2 * z * y)
    assert first["face_voxels"] == 2 * (z * x + z * y) and top["face_voxels"] == 0
    records = [*base.records("segment").values(), *base.records("join1").values()]
    assert blocks["edges"] + first["edges"] == sum(
        r.info["rows"]["edges"] for r in records if r.state == "done"
    )
    assert stages["join1"]["stored_bytes"] == sum(
        r.info["files"]["residual"][0] for r in base.records("join1").values()
    )
    assert data["volume"]["method"] == "exact" and data["volume"]["overlap_vox"] == [0, 0, 0]
    keys = {s["key"] for s in data["settings"]}
    assert "exact.advanced.s_min" in keys and not keys & {"segment.merge_function", "pool.rule"}
    maps = {m["stage"]: m for m in data["maps"]}
    assert (maps["join1"]["noun"], maps["join1"]["shape"]) == ("group", [1, 2, 2])
    assert maps["join2"]["states"] == "d"


def test_the_page_shows_it(base: Run) -> None:
    """What stays open (the browser's tests look at it), and the same when it is written again."""
    told = frozen.data_of(base.attempt.paths.page)
    report.write_report(base.attempt)
    again = frozen.data_of(base.attempt.paths.page)
    assert told is not None and again is not None
    rows = [
        {s["stage"]: s["open"] for s in found["summary"]["stages"] if s["open"]}
        for found in (told, again)
    ]
    (kept, _) = rows
    assert (
        rows[1]
        == kept
        == {
            s["stage"]: s["open"]
            for s in json.loads(base.attempt.paths.report.read_text())["stages"]
            if s["open"]
        }
    )
    assert rows[0]["segment"]["regions"] > 0 and rows[0]["segment"]["face_voxels"] > 0
    assert told["summary"]["volume"]["method"] == "exact"


def test_nothing_of_the_first_block_is_segmented(expected: Array) -> None:
    assert (expected[:10, :12, :12] == 0).all() and len(np.unique(expected)) > 5
