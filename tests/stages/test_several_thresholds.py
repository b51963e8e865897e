"""Several thresholds are one attempt: one set of blocks, an output each, and one that fails stops no other."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base import lease
from magneton_tasks.clean.find import find
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import (
    EXIT_BAD_DATA,
    BadDataError,
    ConfigError,
    LeaseHeldError,
    UsageError,
)
from magneton_tasks.kernels.exact.rounds.curve import Curve
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import ROUNDS, STAGES
from magneton_tasks.stages import pool_exact, probe
from magneton_tasks.stages.apply import ApplyStage
from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work import results
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run, in_fork, kill_at, read_segmentation
from tests.stages.test_exact_pipeline import EXACT
from tests.stages.test_further_thresholds import affinity

pytestmark = pytest.mark.usefixtures("childless")

LOW, MIDDLE, HIGH = 0.3, 0.5, 0.7
LOWEST: dict[str, Any] = {"exact.lowest_threshold": 0.6}
SEVERAL = (HIGH, LOW, MIDDLE)
NAMES = ["0.3", "0.5", "0.7"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return volumes.write_precomputed(tmp_path_factory.mktemp("input") / "affinity", affinity())


def config_in(folder: Path, source: str, output: str = "at-{threshold}", **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        **EXACT, "block": {"size": [16, 16, 32]}, "apply": {"chunk_size": [8, 8, 8], "mips": 1}, **more,
    }  # fmt: skip
    return volumes.write_config(folder, given, input=source, output=f"file://{folder}/{output}")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, source: str) -> dict[str, Array]:
    """What a run of each threshold alone makes, each with blocks of its own."""
    found = {}
    for name in NAMES:
        config = config_in(tmp_path_factory.mktemp("alone"), source)
        run = volumes.run_pipeline(config, {"segment.threshold": float(name)})
        found[name] = read_segmentation(run)
    return found


def outputs(config: Path) -> dict[str, Array]:
    return {n: read_segmentation(f"file://{config.parent}/at-{n}") for n in NAMES}


def is_same(config: Path, fresh: dict[str, Array]) -> bool:
    return all((found == fresh[name]).all() for name, found in outputs(config).items())


def planned(config: Path, *thresholds: float, **more: Any) -> Plan:
    """What a run would do."""
    return draft.draft(
        PlanRequest(config, "look", {}, thresholds=thresholds, **more), write=False
    ).plan


def verified(run: Run) -> dict[str, str | None]:
    """Why each isn't complete; None: it is."""
    found: dict[str, str | None] = {}
    for each in run.attempt.each():
        result = results.of_verify(each.paths)
        assert result is not None
        failures = result.get("failures")
        found[each.paths.cut] = failures[0]["cause"] if failures else None
    return found


def test_each_is_what_a_run_of_its_own_makes_from_one_set_of_blocks(
    tmp_path: Path, source: str, fresh: dict[str, Array]
) -> None:
    config = config_in(tmp_path, source)
    run = volumes.run_pipeline(config, thresholds=SEVERAL, parts=2, reverse=True)
    assert [cut.name for cut in run.plan.cuts] == NAMES
    assert is_same(config, fresh)
    assert len(list((tmp_path / "work").glob("segment-*"))) == 1
    assert verified(run) == dict.fromkeys(NAMES)
    assert not (fresh["0.3"] == fresh["0.7"]).all()
    owners = [json.loads((tmp_path / f"at-{n}/magneton.json").read_text()) for n in NAMES]
    assert [owner["threshold"] for owner in owners] == [LOW, MIDDLE, HIGH]
    assert all(owner["finished"] for owner in owners)
    for one in (planned(config, *SEVERAL), *(planned(config, t) for t in SEVERAL)):
        assert one.nothing_to_do  # what is there counts for one threshold as for several
    more = planned(config, LOW, 0.6, HIGH)
    assert not any(more.work[stage].todo for stage in ("segment", "faces", *ROUNDS))
    assert [bool(cut.work["apply"].todo) for cut in more.cuts] == [False, True, False]
    assert Plan.from_json(more.to_json()) == more


def test_clean_keeps_what_each_of_them_needs_and_knows_all_names(
    tmp_path: Path, source: str
) -> None:
    config = config_in(tmp_path, source)
    run = volumes.run_pipeline(config, thresholds=(LOW, HIGH))
    read = load_config(config)
    for kind in ("stale", "runs"):
        found = find(read, kind, older_than_s=0)
        assert not found.items and not found.alone, kind
    run.attempt.paths.gathering.touch()  # as a verify leaves it that was killed
    volumes.run_pipeline(config, {"segment.threshold": 0.5}, run="newer")
    found = find(read, "runs", older_than_s=0)
    assert [item.path.parent.name for item in found.items] == ["test"] and not found.alone
    probe._check_fingerprints(run.attempt)  # a compute node makes the same of each


def test_blocks_serve_the_lowest(tmp_path: Path, source: str) -> None:
    """All of them are cut from the same, also where the config's lowest threshold is too high."""
    config = config_in(tmp_path, source, **LOWEST)
    plan = planned(config, LOW, HIGH)
    assert len({cut.fingerprints.segment for cut in plan.cuts}) == 1
    assert plan.cuts[0].fingerprints == planned(config, LOW).fingerprints
    assert plan.cuts[0].fingerprints.segment != planned(config, HIGH).fingerprints.segment


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stage that fails at a threshold."""
    at: dict[str, str] = {}
    apply, pool = ApplyStage.one, pool_exact._write

    def one(self: ApplyStage, key: int) -> Any:
        if at.get(self.attempt.paths.cut) == "apply":
            raise BadDataError("the cell is cursed")
        return apply(self, key)

    def write(attempt: Any, report: Any, curve: Curve, threshold: float) -> None:
        if at.get(attempt.paths.cut) == "pool":
            raise BadDataError("the pool is dry")
        pool(attempt, report, curve, threshold)

    monkeypatch.setattr(ApplyStage, "one", one)
    monkeypatch.setattr(pool_exact, "_write", write)
    return at


def test_one_that_fails_stops_no_other_and_a_rerun_mends_it(
    tmp_path: Path, source: str, fresh: dict[str, Array], broken: dict[str, str]
) -> None:
    config = config_in(tmp_path, source)
    broken |= {"0.3": "apply", "0.5": "pool"}
    run = volumes.run_pipeline(config, thresholds=SEVERAL, expect=EXIT_BAD_DATA)
    found = verified(run)
    assert found["0.3"] == "the result isn't complete: apply failed: the cell is cursed"
    assert found["0.5"] == "the result isn't complete: pool failed: the pool is dry"
    assert found["0.7"] is None
    assert (read_segmentation(f"file://{tmp_path}/at-0.7") == fresh["0.7"]).all()
    told = results.read(run.attempt.paths)["verify"]["failures"]
    assert [failure["cause"].split(":")[0] for failure in told] == ["at 0.3", "at 0.5"]
    assert not run.attempt.at(1).manifest("cut").read()  # nothing was tried behind its pool
    broken.clear()
    again = volumes.run_pipeline(config, thresholds=SEVERAL, run="again")
    assert [bool(cut.work["apply"].todo) for cut in again.plan.cuts] == [True, True, False]
    assert is_same(config, fresh)


def test_each_is_verified_by_itself_and_the_last_one_tells_of_all(
    tmp_path: Path, source: str
) -> None:
    run = volumes.plan_run(config_in(tmp_path, source), thresholds=(LOW, HIGH))
    before = [s for s in STAGES[: STAGES.index("verify")] if s in run.plan.work]
    assert volumes.run_stages(run, stages=before, parts=2).code == 0
    attempt, low, high = run.attempt, *run.attempt.each()
    parts = [attempt.paths.result("segment", 0, part) for part in (0, 1)]

    assert volumes.prove_each(attempt, 1) == 0
    assert results.is_proved(high.paths) and high.paths.report.is_file()
    assert results.of_verify(attempt.paths) is None and results.ended_s(attempt.paths) is None
    assert not attempt.paths.report.exists(), "the other is still being looked at"

    attempt.paths.gathering.touch()  # another verify has ended at the same time
    assert volumes.prove_each(attempt, 0) == 0
    assert json.loads(attempt.paths.report.read_text())["state"] == "verified"
    told = results.of_verify(attempt.paths)
    assert told is not None and told["seconds"] > 0
    chunks = [results.read(each.paths)["verify"]["chunks"] for each in (low, high)]
    assert told["chunks"] == sum(chunks) == told["checked"]["read"]
    assert all(part.is_file() for part in parts), "two may not put the same files together"

    attempt.paths.gathering.unlink()
    assert volumes.prove_each(attempt, 0) == 0
    assert not any(part.exists() for part in parts) and not attempt.paths.gathering.exists()
    with pytest.raises(UsageError, match="2 thresholds, and no batch 2"):
        volumes.prove_each(attempt, 2)
    volumes.release(run)


def test_where_all_fail_pool_fails(tmp_path: Path, source: str, broken: dict[str, str]) -> None:
    broken |= {"0.3": "pool", "0.7": "pool"}
    run = volumes.run_pipeline(
        config_in(tmp_path, source), thresholds=(LOW, HIGH), expect=EXIT_BAD_DATA
    )
    assert run.codes["pool"] == [EXIT_BAD_DATA] and "cut" not in run.codes


@pytest.mark.parametrize("n", [3, 130])
def test_kill_9_while_cells_are_written(
    tmp_path: Path, source: str, fresh: dict[str, Array], n: int
) -> None:
    """At the first threshold, and at the second once the first is written."""
    config = config_in(tmp_path, source)
    run = volumes.plan_run(config, thresholds=SEVERAL, run="killed")
    before = STAGES[: STAGES.index("apply")]
    volumes.run_stages(run, stages=[stage for stage in before if stage in run.plan.work])

    def killed() -> int:
        kill_at(n, "rename", "replace")
        return volumes.run_stages(run, stages=["apply"]).code

    assert in_fork(killed) == -signal.SIGKILL
    volumes.release(run)
    volumes.run_pipeline(config, thresholds=SEVERAL, run="then")
    assert is_same(config, fresh)


def test_the_lease_guards_each_output(tmp_path: Path, source: str) -> None:
    run = volumes.plan_run(config_in(tmp_path / "one", source), thresholds=(LOW, HIGH))
    other = config_in(tmp_path / "two", source, output="../one/at-0.7")
    with pytest.raises(LeaseHeldError):
        volumes.plan_run(other, run="other")
    volumes.release(run)
    assert all(lease.look(tmp_path / "one" / f"at-{n}") is None for n in ("0.3", "0.7"))


def test_what_does_not_go_together_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="write over each other"):
        planned(config_in(tmp_path, source, output="segmentation"), LOW, HIGH)
    config = config_in(tmp_path, source)
    with pytest.raises(UsageError, match="contradict"):
        PlanRequest(config, "look", {"segment.threshold": 0.3}, thresholds=(LOW, HIGH))
    assert not (tmp_path / "work").exists()
