"""Status, clean, damage and reports of volumes that were segmented by the exact method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.outcome import report
from magneton_tasks.outcome.attempt_summary import of_attempt
from magneton_tasks.outcome.current import Now
from magneton_tasks.outcome.page import frozen
from magneton_tasks.outcome.status_stages import AtThreshold
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.stages.planning import group_work
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Failed, Settled
from magneton_tasks.work.paths import WorkPaths
from magneton_tasks.work.record import Record
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Array, Run

pytestmark = pytest.mark.usefixtures("childless")
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
def small_groups() -> Iterator[None]:
    """A block a group in round 0, whatever memory allows, and all at once in round 1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_work, "budget_of", _budget)
        yield


def _budget(attempt: Attempt, *_: int) -> int:
    is_first = not list(attempt.work.work.glob("rounds-*/0/plan-*.json"))
    return 1 if is_first else 10**9


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


# ------------------------------------------------------------------ times
@pytest.mark.parametrize("stage", ["segment", "faces", "round0", "cut"])
def test_each_record_tells_of_its_own_work_although_many_follow_one_file(
    base: Run, stage: str
) -> None:
    told = sorted((r.began or 0, r.seconds or 0, r.time) for r in base.records(stage).values())
    assert len(told) >= 17
    for (began, seconds, _), (next_began, _, _) in pairwise(told):  # one worker
        assert began + seconds <= next_began + 0.002, told
    found = of_attempt(base.attempt, stage, is_alive=False)
    assert found.began == told[0][0] and found.settled_at == max(time for *_, time in told)


def test_a_stage_takes_as_long_in_status_and_on_the_page_with_or_without_when_blocks_began(
    base: Run, config: Path
) -> None:
    """Records of releases before don't tell: then a block began as long before as it took."""
    attempt = replace(base.attempt, work=WorkPaths(work(config)))
    now = Now(attempt)
    (records,) = work(config).glob("segment-*/records")
    for is_told in (True, False):
        shown = AtThreshold(attempt, now, alive=False, check=False).stage("segment").summary
        found = report.columns_now(attempt).volume.stages["segment"].summary()
        assert (found.began, found.seconds) == (shown.began, shown.seconds)
        valid = [s.valid for s in attempt.manifest("segment").read().values() if s.valid]
        firsts = [r.began if is_told else r.time - (r.seconds or 0) for r in valid]
        assert shown.began == pytest.approx(min(f for f in firsts if f is not None))
        for path in records.iterdir():
            lines = map(Record.from_line, path.read_text().splitlines())
            path.write_text("".join(f"{replace(r, began=None).to_line()}\n" for r in lines))


def test_stored_bytes_are_those_on_disk_although_many_share_a_file(base: Run) -> None:
    told = report.columns_now(base.attempt).volume.stages
    for stage, columns in told.items():
        if stage in ("segment", "faces", "round0", "round1", "cut"):
            directory = base.attempt.stage_dir(stage)
            of_labels = directory / "labels.zarr" / "c"
            found = [*directory.glob("*.slices"), *of_labels.rglob("*"), *directory.rglob("*.zip")]
            on_disk = sum(path.stat().st_size for path in found if path.is_file())
            assert columns.row(0.0, is_alive=False)["stored_bytes"] == on_disk > 0, stage


# ------------------------------------------------------------------ status
def test_status_has_a_row_for_each_round(config: Path, cli: Caller) -> None:
    data = cli("status", config, "--json", "--slow", "60", "--missing").json
    totals = {s["stage"]: (s["done"], s["empty"], s["total"]) for s in data["stages"]}
    assert totals["segment"] == (17, 1, 18) and totals["faces"] == (18, 0, 18)
    assert (totals["round0"], totals["round1"]) == ((17, 1, 18), (1, 0, 1))
    assert totals["cut"] == (18, 0, 18)
    assert "round2" not in totals
    assert data["missing"] == []
    assert {b["stage"] for b in data["slow"]} >= {"segment", "round0", "round1", "apply"}
    text = cli("status", config).out
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("round")]
    assert rows == ["round0", "round1"]


def test_status_names_the_groups_that_are_to_do(config: Path, cli: Caller) -> None:
    run = volumes.plan_run(config, run="look")
    volumes.release(run)
    run.attempt.invalidate("round0", {5: "lost"})
    found = cli("status", config, "--json", "--missing").json["missing"]
    (group,) = [b for b in found if b["stage"] == "round0"]
    assert group["key"] == 5
    assert group["position"] == [0, 1, 2] and group["begin_vox"][1] == volumes.OFFSET[1] + 12
    again = volumes.run_pipeline(config, run="again")
    assert (again.made("segment"), again.made("round0"), again.made("round1")) == (
        set(),
        {5},
        set(),
    )
    assert again.made("pool") == again.made("cut") == again.made("apply") == set()


@pytest.mark.parametrize(
    ("pattern", "stage", "n"),
    [
        ("segment-*/residuals/0000/4.zip", "segment", 1),
        ("segment-*/supervoxels-*.slices", "segment", 17),
        ("faces-*/faces-*.slices", "faces", 18),
        ("rounds-*/0/names-*.slices", "round0", 17),
        ("rounds-*/0/sent-*.slices", "round0", 17),
        ("cut-*/cut-*.slices", "cut", 18),
    ],
)
def test_check_finds_damaged_files(
    pattern: str, stage: str, n: int, config: Path, cli: Caller
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


def test_the_live_table_counts_groups() -> None:
    row = StageSummary("round1", 8, 8)
    row.take(Settled("round1", 3, "done", 1.0, 1.0, 120 << 20, 1, 8, "5 regions, 2 go on"))
    row.take(Failed("round1", 4, 75, "disk full", time=2.0))
    assert (row.done, row.counts["failed"]) == (1, 1)


# ------------------------------------------------------------------ clean
def test_all_that_a_run_writes_is_known_to_be_ours(config: Path, cli: Caller) -> None:
    kinds = ("results/round1-0000.json", "logs/round1-0000.log", "logs/round1-block-0.log")
    (attempt,) = work(config).glob("runs/mine/*")
    for name in kinds:
        (attempt / name).touch()
    found = cli("clean", config, "--what", "all", "--dry-run", "--json").json
    assert found["left_alone"] == []
    listed = {Path(i["path"]).name.partition("-")[0] for i in found["items"]}
    assert listed >= {"segment", "faces", "rounds", "pool", "cut", "apply"}


@pytest.mark.parametrize(
    ("what", "gone", "nothing_to_do"),
    [
        ("cache", ("segment-*/residuals", "faces-*/*.slices", "rounds-*/*/sent-*"), True),
        (
            "cuts",
            (
                "segment-*/labels.zarr",
                "segment-*/supervoxels-*",
                "segment-*/residuals",
                "faces-*/*.slices",
                "rounds-*/*/*.slices",
            ),
            True,
        ),
        ("records", ("pool-*", "cut-*", "apply-*"), False),
        ("all", ("segment-*", "faces-*", "rounds-*", "pool-*", "cut-*"), False),
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


def test_a_further_threshold_needs_nothing_of_what_was_cleaned(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    other = {"segment.threshold": 0.6}
    elsewhere = {"paths.work": f"{tmp_path}/w", "paths.output": f"file://{tmp_path}/s"}
    whole = volumes.run_pipeline(config, {**other, **elsewhere}, run="whole")
    said = cli("clean", config, "--yes").out
    assert "what a verified volume left open: no further threshold needs it" in said
    assert list(work(config).glob("segment-*/labels.zarr"))
    run = volumes.run_pipeline(config, other, run="again")
    assert run.made("segment") == run.made("faces") == run.made("round0") == set()
    assert (volumes.read_segmentation(run) == volumes.read_segmentation(whole)).all()


def test_what_cuts_need_goes_by_its_own_name_alone(config: Path, cli: Caller) -> None:
    def held() -> list[Path]:
        patterns = ("segment-*/labels.zarr/c", "segment-*/supervoxels-*", "rounds-*/*/names-*")
        return sorted(path for pattern in patterns for path in work(config).glob(pattern))

    before = held()
    for what in (
        "cache",
        "cache",
        "records",
        "runs",
        "stale",
    ):  # once cleaned, exact is known still
        cli("clean", config, "--what", what, "--yes")
        assert held() == before, what
    assert not cli("maintain", config, "--older-than", "0s").code
    assert held() == before
    cli("clean", config, "--what", "cuts", "--yes")
    assert held() == []


def test_without_what_cuts_need_another_threshold_does_its_blocks_again(
    config: Path, cli: Caller, tmp_path: Path
) -> None:
    other = {"segment.threshold": 0.6}
    elsewhere = {"paths.work": f"{tmp_path}/w", "paths.output": f"file://{tmp_path}/s"}
    whole = volumes.run_pipeline(config, {**other, **elsewhere}, run="whole")
    dry = ("run", config, "--dry-run", "--set", "segment.threshold=0.6")
    assert "all blocks and rounds: pool, cut and apply only" in cli(*dry).out
    cli("clean", config, "--what", "cuts", "--yes")
    said = cli(*dry).out
    assert "17 blocks again: clean freed what this run reads of them" in said
    assert "pool, cut and apply only" not in said
    run = volumes.run_pipeline(config, other, run="again")
    assert run.made("segment") == run.made("round0") == set(range(1, 18))
    assert (volumes.read_segmentation(run) == volumes.read_segmentation(whole)).all()


def test_an_interrupted_run_goes_on_after_a_clean(
    base: Run, config: Path, cli: Caller, tmp_path: Path, expected: Array
) -> None:
    """Cleaned between the rounds: round 1 needs what round 0 sent, and that needs the blocks."""
    elsewhere = {"paths.work": f"{tmp_path}/w", "paths.output": f"file://{tmp_path}/s"}
    other = volumes.write_config(
        config.parent,
        SETTINGS,
        input=base.attempt.config.paths.input,
        work=elsewhere["paths.work"],
        output=elsewhere["paths.output"],
    )
    run = volumes.run_stages(volumes.plan_run(other), stages=["segment", "faces", "round0"])
    volumes.release(run)
    text = cli("status", other).out
    begins = [line.split()[0] for line in text.splitlines() if line]
    assert begins[begins.index("round0") + 1 : begins.index("pool")] == ["rounds"]
    assert "rounds from round1 on: not known yet" in text
    group_work.prepare(run.attempt, "round1")  # of one group, which holds all
    assert "not known yet" not in cli("status", other).out
    assert "the next run computes it again" in cli("clean", other, "--yes").out
    # whoever goes on with the old plan is told
    volumes.run_stages(run, stages=["round1"])
    volumes.release(run)
    assert run.codes["round1"] == [75]
    cause = run.result("round1", 0)["failures"][0]["cause"]
    assert "its files were removed by `magneton clean`" in cause
    again = volumes.run_pipeline(other, run="again")
    assert again.made("segment") == set(range(1, 18))  # block 0 is empty
    assert again.made("round0") == set(range(1, 18))
    assert (volumes.read_segmentation(again) == expected).all()


# ------------------------------------------------------------------ the report
def test_the_report_tells_what_stays_open(base: Run) -> None:
    data = json.loads(base.attempt.paths.report.read_text())
    stages = {s["stage"]: s for s in data["stages"]}
    blocks, first, last = (stages[s]["open"] for s in ("segment", "round0", "round1"))
    assert blocks["regions"] > first["regions"] > last["regions"] == last["edges"] == 0
    z, y, x = SHAPE
    assert blocks["face_voxels"] == 2 * (y * x + 2 * z * x + 2 * z * y)
    assert data["volume"]["method"] == "exact" and data["volume"]["overlap_vox"] == [0, 0, 0]
    keys = {s["key"] for s in data["settings"]}
    assert "exact.advanced.s_min" in keys and not keys & {"segment.merge_function", "pool.rule"}
    maps = {m["stage"]: m for m in data["maps"]}
    assert (maps["round0"]["noun"], maps["round0"]["shape"]) == ("group", [2, 3, 3])
    assert maps["round1"]["states"] == "d"


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
