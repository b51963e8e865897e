"""A finished result that other settings would write over: what is said of it, without a terminal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.cli.run import containers as run_docker
from magneton_tasks.cli.run.planning import agreement
from magneton_tasks.config.read import load_config
from magneton_tasks.stages.claims import output_to_write
from magneton_tasks.stages.planning import replaced
from magneton_tasks.stages.planning.request import PlanRequest
from tests.cli.menu.terminal import listing
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run

Copy = Callable[..., Path]


def config_of(run: Run) -> Path:
    return Path(run.plan.config_path)


def owner_of(run: Run) -> Any:
    return volumes.read_owner(config_of(run))


def replacing(out: str) -> list[str]:
    """The lines of a plan on what it replaces; the first, and those under it."""
    lines = out.splitlines()
    first = [i for i, s in enumerate(lines) if s.startswith(("REPLACES ", "later "))]
    if not first:
        return []
    (begin,) = first
    under = [s.strip() for s in lines[begin + 1 :] if s.startswith(" " * 10)]
    return [lines[begin], *under]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("segment.threshold", 0.6, "segment.threshold: 0.5 -> 0.6"),
        ("segment.min_size_vox", 40, "segment.min_size_vox: 0 -> 40"),
        ("pool.rule", "any", "pool.rule: mutual -> any"),
        ("pool.min_frac", 0.7, "pool.min_frac: 0.5 -> 0.7"),
        ("apply.encoding", "raw", "apply.encoding: compressed_segmentation -> raw"),
        ("block.size", [40, 64, 64], "block.size: [32, 48, 48] -> [40, 64, 64]"),
        ("input.version", "second", "input.version: null -> second"),
    ],
)
def test_a_dry_run_says_which_result_is_replaced_and_what_differs(
    finished: Run, cli: Caller, key: str, value: object, told: str
) -> None:
    config = config_of(finished)
    before = listing(config.parent)
    done = cli("run", config, "--dry-run", "--set", f"{key}={json.dumps(value)}")
    assert done.code == 0, done.err
    first, *under = replacing(done.out)
    output = finished.attempt.config.paths.output
    assert first.startswith(f"REPLACES  the finished result in {output}, complete since 20")
    assert first.endswith(", of run test")
    assert told in under
    assert "to keep it: give this run another paths.output" in under
    assert listing(config.parent) == before


def test_another_method_is_one_line_and_not_each_key_that_only_one_reads(
    finished: Run, tmp_path: Path
) -> None:
    settings = {"method": "exact", "block": {"size": [32, 48, 48]}, "segment": {"threshold": 0.5}}
    other = load_config(volumes.write_config(tmp_path, settings))
    found = replaced._differing(owner_of(finished), other)
    assert "method: overlap -> exact" in found
    assert not any("exact." in line or "merge_function" in line for line in found)


def test_what_changes_no_result_replaces_none(finished: Run, cli: Caller) -> None:
    config = config_of(finished)
    for sets in ([], ["--set", "pool.largest_object_warning=0.5"], ["--set", "local.workers=2"]):
        assert replacing(cli("run", config, "--dry-run", *sets).out) == []
    elsewhere = f"paths.output=file://{config.parent}/other"
    sets = ["--set", elsewhere, "--set", "segment.threshold=0.6"]
    assert replacing(cli("run", config, "--dry-run", *sets).out) == []


def test_a_restart_replaces_the_finished_result_too(finished: Run, cli: Caller) -> None:
    first, why, _ = replacing(cli("run", config_of(finished), "--dry-run", "--restart").out)
    assert first.startswith("REPLACES  the finished result in ")
    assert why == "the settings are the same; the restart does all of it again"


def test_stages_before_apply_say_what_apply_will_replace(finished: Run, cli: Caller) -> None:
    sets = ["--stages", "segment", "--set", "segment.threshold=0.6"]
    first, why, _ = replacing(cli("run", config_of(finished), "--dry-run", *sets).out)
    assert first.startswith("later     apply, with these settings, will replace the finished")
    assert why == "segment.threshold: 0.5 -> 0.6"


def test_what_airflow_calls_goes_on_and_its_log_and_plan_say_so(finished: Run, cli: Caller) -> None:
    config = config_of(finished)
    sets = ["--set", "pool.min_frac=0.7"]
    done = cli("plan", config, "--run-id", "scheduled", "--form", *sets)
    assert done.code == 0, done.err
    first, why, _ = replacing(done.out)
    assert first.startswith("REPLACES  the finished result in ")
    assert why == "pool.min_frac: 0.5 -> 0.7"
    plan = json.loads((Path(done.json["attempt"]) / "plan.json").read_text())
    assert plan["replaces"]["run"] == "test"
    assert plan["replaces"]["differs"] == ["pool.min_frac: 0.5 -> 0.7"]


def test_an_unfinished_result_is_told_as_such(finished: Run, cli: Caller) -> None:
    config = config_of(finished)
    run = volumes.plan_run(config, {"pool.min_frac": 0.7}, run="killed")
    volumes.run_stages(run, stages=["count", "pool", "apply"])
    volumes.release(run)
    assert owner_of(finished)["finished"] is None
    first, *_ = replacing(cli("run", config, "--dry-run").out)
    assert first.startswith("REPLACES  an unfinished result in ")
    assert first.endswith(", of run killed")
    # the rerun that completes it replaces nothing
    assert replacing(cli("run", config, "--dry-run", "--set", "pool.min_frac=0.7").out) == []


@pytest.mark.parametrize(("key", "value"), [("segment.threshold", 0.6), ("apply.encoding", "raw")])
def test_a_run_stopped_before_apply_leaves_the_result_finished(
    finished: Run, cli: Caller, key: str, value: object
) -> None:
    config = config_of(finished)
    before = listing(config.parent / "segmentation")
    run = volumes.plan_run(config, {key: value}, run="stopped")
    volumes.run_stages(run, stages=["segment", "count", "pool"])
    volumes.release(run)
    assert listing(config.parent / "segmentation") == before
    first, why, _ = replacing(cli("run", config, "--dry-run", "--set", "segment.threshold=0.7").out)
    assert first.startswith("REPLACES  the finished result in ") and first.endswith("of run test")
    assert why == "segment.threshold: 0.5 -> 0.7"
    again = volumes.run_pipeline(config, run="again")
    assert again.plan.nothing_to_do
    # and the run that was stopped can still be gone on with
    stopped = volumes.run_pipeline(config, {key: value}, run="stopped")
    assert owner_of(finished)["finished"]["run"] == "stopped"
    assert len(volumes.all_mips(stopped)) == len(stopped.plan.geometry.factors) + 1


def test_the_owner_is_that_of_the_new_result_before_its_first_chunk(finished: Run) -> None:
    config = config_of(finished)
    run = volumes.plan_run(config, {"apply.encoding": "raw"}, run="killed")

    def killed() -> None:
        def is_chunk(source: object, *_: object) -> bool:
            return "segmentation" in str(source) and ".gz" in str(source)

        volumes.kill_at(1, "rename", when=is_chunk)
        volumes.run_stages(run, stages=["count", "pool", "apply"])

    assert volumes.in_fork(killed) == -signal.SIGKILL
    owner = owner_of(finished)
    assert (owner["finished"], owner["run"]) == (None, "killed")
    volumes.release(run)
    assert not volumes.plan_run(config, run="killed").plan.nothing_to_do


def test_tasks_of_apply_at_once_may_find_the_owner_written_and_the_info_not(finished: Run) -> None:
    config = config_of(finished)
    info = config.parent / "segmentation" / "info"
    before = info.read_bytes()
    run = volumes.plan_run(config, {"apply.encoding": "raw"}, run="many")
    volumes.run_stages(run, stages=["count", "pool"])
    output_to_write(run.attempt)
    owner = owner_of(finished)
    info.write_bytes(before)
    output_to_write(run.attempt)
    assert owner_of(finished) == owner
    assert json.loads(info.read_bytes())["scales"][0]["encoding"] == "raw"
    assert volumes.run_stages(run, stages=["apply", "verify"]).code == 0


def test_what_a_run_writes_nothing_of_stays_that_of_its_maker(finished: Run) -> None:
    config = config_of(finished)
    before = owner_of(finished)
    path = config.parent / "segmentation" / "magneton.json"
    # of a release that didn't say so in the output
    path.write_text(json.dumps({k: v for k, v in before.items() if k != "finished"}))
    assert volumes.run_pipeline(config, run="nothing to do").plan.nothing_to_do
    after = owner_of(finished)
    assert after["run"] == after["finished"]["run"] == "test"
    # labels are made again, and are the same: no chunk is written
    sets: dict[str, object] = {"input.version": "second"}
    other = volumes.run_pipeline(config, sets, run="same labels")
    assert not other.plan.nothing_to_do
    assert owner_of(finished)["finished"] == after["finished"]
    assert owner_of(finished)["config"]["input"]["version"] == "second"


def test_a_changed_input_is_told(copy_of: Copy, cli: Caller) -> None:
    config = copy_of(settings={"input.identity": "chunks"})
    volumes.run_pipeline(config)
    assert replacing(cli("run", config, "--dry-run").out) == []
    os.utime(next((config.parent / "affinity").rglob("*.gz")), (1, 1))
    first, why, _ = replacing(cli("run", config, "--dry-run").out)
    assert first.startswith("REPLACES  the finished result in ")
    assert why == replaced.INPUT_CHANGED


def test_the_owner_says_which_run_made_the_result_and_when(finished: Run) -> None:
    made = owner_of(finished)["finished"]
    assert made["run"] == "test"
    again = volumes.run_pipeline(config_of(finished), run="nothing to do")
    assert again.plan.nothing_to_do
    assert owner_of(finished)["finished"] == made
    other = volumes.run_pipeline(config_of(finished), {"pool.min_frac": 0.7}, run="other")
    assert other.code == 0
    assert owner_of(finished)["finished"]["run"] == "other"


@pytest.mark.parametrize("kept", [True, False])
def test_an_output_of_an_earlier_release_is_judged_by_its_run(
    finished: Run, cli: Caller, kept: bool
) -> None:
    config = config_of(finished)
    path = config.parent / "segmentation" / "magneton.json"
    path.write_text(json.dumps({k: v for k, v in owner_of(finished).items() if k != "finished"}))
    run = config.parent / "work" / "runs" / "test"
    if not kept:
        run.rename(config.parent / "cleaned")
    first, *_ = replacing(cli("run", config, "--dry-run", "--set", "pool.min_frac=0.7").out)
    words = "the finished result" if kept else "the result"
    assert first.startswith(f"REPLACES  {words} in ")
    assert (", complete since " in first) == kept


def test_overwriting_another_volume_s_output_says_so(
    finished: Run, cli: Caller, tmp_path: Path
) -> None:
    other = volumes.make_volume(tmp_path / "other")
    text = other.read_text()
    own = load_config(other).paths.output
    other.write_text(text.replace(own, finished.attempt.config.paths.output))
    done = cli("run", other, "--dry-run", "--overwrite-output")
    assert done.code == 0, done.err
    first, *under = replacing(done.out)
    assert first.endswith(", of run test")
    assert any(line.startswith("paths.input: ") for line in under)


@pytest.mark.parametrize("kind", ["another tool's", "broken"])
def test_overwriting_what_isn_t_magneton_s_says_so(finished: Run, cli: Caller, kind: str) -> None:
    config = config_of(finished)
    path = config.parent / "segmentation" / "magneton.json"
    path.write_text("{") if kind == "broken" else path.unlink()
    first, why, _ = replacing(cli("run", config, "--dry-run", "--overwrite-output").out)
    assert first == f"REPLACES  the result in {finished.attempt.config.paths.output}"
    assert why == replaced.FOREIGN


def test_without_a_terminal_run_goes_on_and_says_so(finished: Run, cli: Caller) -> None:
    config = config_of(finished)
    done = cli("run", config, "--set", "pool.min_frac=0.7")
    assert done.code == 0, done.out + done.err
    assert replacing(done.out)[1] == "pool.min_frac: 0.5 -> 0.7"
    assert "Replace it?" not in done.out
    assert owner_of(finished)["config"]["pool"]["min_frac"] == 0.7


def test_a_threshold_of_the_map_differs_by_what_was_taken(tmp_path: Path, cli: Caller) -> None:
    settings = {"method": "exact", "segment": {}, "pool": {}, "block": {"size": [40, 40, 40]}}
    config = volumes.make_volume(tmp_path, settings=settings)
    run = volumes.run_pipeline(config)
    chosen = run.attempt.threshold
    value = chosen.value
    assert chosen.source == "map" and volumes.read_owner(config)["threshold"] == value
    assert replacing(cli("run", config, "--dry-run").out) == []
    same = ["--set", f"segment.threshold={value}"]
    _, why, _ = replacing(cli("run", config, "--dry-run", *same).out)
    assert why == f"segment.threshold: {value:g}, from the map -> {value:g}"
    _, why, _ = replacing(cli("run", config, "--dry-run", "--set", "segment.threshold=0.9").out)
    assert why == f"segment.threshold: {value:g}, from the map -> 0.9"


def test_a_threshold_that_comes_from_the_map_now_is_told_with_its_source(
    tmp_path: Path, cli: Caller
) -> None:
    settings = {
        "method": "exact", "block": {"size": [40, 40, 40]}, "segment": {"threshold": 0.7}, "pool": {}
    }  # fmt: skip
    config = volumes.make_volume(tmp_path, settings=settings)
    volumes.run_pipeline(config)
    config.write_text(config.read_text().replace("threshold: 0.7", "threshold: null"))
    done = cli("plan", config, "--run-id", "again")
    assert done.code == 0, done.err
    plan = json.loads((Path(done.json["attempt"]) / "plan.json").read_text())
    told = "segment.threshold: 0.7 -> null, from the map"
    assert plan["threshold"]["source"] == "map" and told in replacing(done.out)
    assert f"changed since the last attempt: {told}" in done.out.splitlines()


# ------------------------------------------------------------------ containers
@pytest.mark.parametrize(
    ("sets", "restart", "told"),
    [
        ({"segment.threshold": 0.6}, False, ["segment.threshold: 0.5 -> 0.6"]),
        ({}, True, [replaced.RESTARTED]),
        ({"local.workers": 2}, False, []),
    ],
)
def test_a_run_in_containers_asks_before_plan_starts(
    finished: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sets: dict[str, object],
    restart: bool,
    told: list[str],
) -> None:
    asked: list[str] = []

    def confirm(question: str, default: bool) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr("magneton_tasks.cli.run.replacing.is_interactive", lambda: True)
    monkeypatch.setattr("magneton_tasks.cli.run.replacing.confirm", confirm)
    config = load_config(config_of(finished), sets)
    request = PlanRequest(config_of(finished), "x", sets, restart=restart)
    run_docker._ask(agreement(show=True, yes=False), config, request)
    assert replacing(capsys.readouterr().out)[1:-1] == told
    assert len(asked) == bool(told)
