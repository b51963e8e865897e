"""Where a run's threshold is told: log, status, report, block map, summary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from magneton_tasks.cli.run.summary import print_summary
from magneton_tasks.outcome import threshold_words
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.outcome.page import frozen
from magneton_tasks.outcome.report import write_report
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.work import threshold_of
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("childless")

WARNING = "contacts between objects and insides of objects hardly differ: look at it"
MAP = ThresholdChoice(0.315, "map", 0.1, 0.873, (WARNING,))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the exact method, whose threshold came from the map, with a warning."""
    settings = {"method": "exact", "segment": {}, "pool": {}, "block": {"size": [40, 40, 40]}}
    config = volumes.make_volume(tmp_path_factory.mktemp("map"), settings=settings)
    return volumes.run_pipeline(config)


@pytest.fixture
def warned(run: Run, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """That run, as if the map had asked for `MAP`."""
    monkeypatch.setattr(threshold_of, "pool", lambda *_: MAP)
    monkeypatch.setattr(Attempt, "open", classmethod(lambda *_: run.attempt))
    return run.attempt


def test_words_of_each_source() -> None:
    levels = "contacts between objects 0.10, inside objects 0.87"
    assert threshold_words.words(MAP) == f"0.315, from the map: {levels}"
    now = "; the map has changed since, and its own threshold is now 0.4"
    assert threshold_words.words(replace(MAP, now=0.4)) == f"0.315, from the map: {levels}{now}"
    guess = f"from the map (samples say about 0.315): {levels}"
    assert threshold_words.words(replace(MAP, is_guess=True)) == guess
    assert threshold_words.as_data(replace(MAP, is_guess=True))["source_words"].startswith(
        "by samp"
    )
    unknown = ThresholdChoice(None, "map")
    told = "from the map: pool finds it when all blocks are done"
    assert threshold_words.words(unknown) == told
    assert threshold_words.as_data(unknown)["source_words"] == "from the map, by pool"
    assert threshold_words.words(ThresholdChoice(0.7, "config")) == "0.7, from the config"
    assert threshold_words.words(ThresholdChoice(0.5, "run")) == "0.5, set for this run"


def test_plan_s_log_tells_it(run: Run, cli: Caller) -> None:
    out = cli("plan", run.plan.config_path, "--run-id", "again").out
    line = f"threshold {threshold_words.words(run.attempt.threshold)}"
    assert line in out.splitlines()
    assert ", from the map: contacts between objects 0." in line


def test_status_tells_it(warned: Attempt, cli: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    from magneton_tasks.outcome import current

    monkeypatch.setattr(current, "as_planned_now", lambda attempt, _: current.Now(attempt))
    out = cli("status", warned.plan.config_path).out.splitlines()
    assert f"threshold {threshold_words.words(MAP)}" in out
    assert f"WARNING: {WARNING}" in out
    found = cli("status", warned.plan.config_path, "--json").json["threshold"]
    assert (found["value"], found["source"], found["warnings"]) == (0.315, "map", [WARNING])
    assert (found["between"], found["inside"]) == (0.1, 0.873)


def test_the_report_tells_it(warned: Attempt) -> None:
    write_report(warned)
    page = frozen.data_of(warned.paths.page)
    assert page is not None
    threshold = page["summary"]["volume"]["threshold"]
    assert (threshold["value"], threshold["source_words"]) == (0.315, "from the map")
    assert threshold["levels"] == "contacts between objects 0.10, inside objects 0.87"
    assert page["summary"]["notes"] == [WARNING]
    data = json.loads(warned.paths.report.read_text())
    assert data["volume"]["threshold"]["between"] == 0.1 and data["notes"] == [WARNING]


def test_the_block_map_tells_it(warned: Attempt) -> None:
    found = BlockMap(warned)
    found.refresh()
    threshold = found.summary["volume"]["threshold"]
    assert (threshold["value"], threshold["source_words"]) == (0.315, "from the map")
    assert threshold["levels"] == "contacts between objects 0.10, inside objects 0.87"
    assert found.summary["notes"] == [WARNING]


def test_the_summary_tells_it(warned: Attempt, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(Path(warned.paths.root))
    lines = capsys.readouterr().out.splitlines()
    assert f"threshold     {threshold_words.words(MAP)}" in lines
    assert f"WARNING       {WARNING}" in lines
