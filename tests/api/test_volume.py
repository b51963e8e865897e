"""`magneton.open`: what plan, run, status, objects, labels and evaluate give."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import magneton
from magneton_tasks import errors
from magneton_tasks.api import running
from magneton_tasks.runners.command import PROGRAM, run_command
from magneton_tasks.work.events import Refused, to_line
from tests.helpers import volumes
from tests.helpers.volumes import Run

pytestmark = pytest.mark.usefixtures("childless")

EXACT = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": [20, 32, 40]},
}


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return volumes.run_pipeline(
        volumes.make_volume(tmp_path_factory.mktemp("exact"), settings=EXACT)
    )


@pytest.fixture(params=["exact", "overlap"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue("base" if request.param == "overlap" else "exact")
    return found


def volume_of(run: Run, **sets: object) -> magneton.Volume:
    return magneton.open(run.plan.config_path, sets)


def test_objects_are_those_of_the_output(run: Run) -> None:
    table = volume_of(run).objects()
    ids, counts = np.unique(volumes.read_segmentation(run), return_counts=True)
    kept = ids > 0
    assert table.column_names == ["id", "voxels"]
    assert (table["id"].to_numpy() == ids[kept]).all() and len(table) > 5
    assert (table["voxels"].to_numpy() == counts[kept]).all()


def test_labels_are_read_by_boxes(exact: Run) -> None:
    whole, volume = volumes.read_segmentation(exact), volume_of(exact)
    assert (volume.labels() == whole).all() and volume.labels().dtype == np.uint64
    begin = [o + 3 for o in volumes.OFFSET]
    part = volume.labels(begin, [b + 5 for b in begin])
    assert (part == whole[3:8, 3:8, 3:8]).all()
    assert volume.labels(mip=1).shape == volumes.read_segmentation(exact, 1).shape


def test_status_tells_stage_by_stage_whether_it_is_done(exact: Run) -> None:
    status = volume_of(exact).status()
    assert status.is_done and not status.is_running and status.threshold == 0.5
    rows = {row["stage"]: row for row in status.stages.to_pylist()}
    assert list(rows) == [s["stage"] for s in status.data["stages"]]
    blocks = len(exact.plan.geometry.grid)
    assert rows["segment"]["done"] == rows["segment"]["total"] == blocks
    assert rows["verify"]["done"] == 1 and status.failures == ()


def test_plan_says_what_a_run_would_do_and_writes_nothing(exact: Run) -> None:
    root = Path(exact.plan.config_path).parent
    before = sorted(root.rglob("*"))
    done = volume_of(exact).plan()
    assert done.blocks == exact.plan.geometry.grid.shape and done.shape == volumes.SHAPE
    assert not any(done.stages["todo"].to_pylist())
    other = volume_of(exact, **{"segment.threshold": 0.4}).plan()
    todo = {row["stage"]: row["todo"] for row in other.stages.to_pylist()}
    assert other.threshold == 0.4 and todo["segment"] == 0 and todo["apply"] > 0
    assert other.replaces == exact.attempt.config.paths.output and done.replaces is None
    assert sorted(root.rglob("*")) == before


def test_a_truth_may_be_a_volume_or_an_array(exact: Run, tmp_path: Path) -> None:
    volume, truth = volume_of(exact), volumes.cells()
    scores = volume.evaluate(truth)
    assert 0 < scores.vi < 1 and scores.vi == pytest.approx(scores.vi_split + scores.vi_merge)
    volumes.write_precomputed(tmp_path / "truth", truth[None])
    assert volume.evaluate(tmp_path / "truth").vi == scores.vi
    assert volume.evaluate(volume.labels()).vi == 0
    with pytest.raises(magneton.MagnetonError, match="truth is .*the output has") as caught:
        volume.evaluate(truth[1:])
    assert caught.value.exit_code == 78


def test_what_is_wrong_has_the_message_and_code_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(magneton.MagnetonError) as caught:
        magneton.open(tmp_path / "none.yaml")
    assert "none.yaml" in str(caught.value)
    config = volumes.make_volume(tmp_path, settings=EXACT)
    with pytest.raises(errors.ConfigError, match="segment.treshold"):
        magneton.open(config, {"segment.treshold": 0.3})
    with pytest.raises(errors.NoInputError, match="holds no run yet"):
        magneton.open(config).objects()
    volumes.plan_run(config)
    with pytest.raises(errors.NoInputError, match="isn't finished\n  what to do: run it"):
        magneton.open(config).objects()


# ------------------------------------------------------------------ the process of a run
def test_a_run_is_the_command_that_a_person_types(tmp_path: Path) -> None:
    made = run_command(
        tmp_path / "v.yaml",
        {"segment.threshold": 0.3},
        "a",
        runner="slurm",
        workers=2,
        restart=True,
    )
    assert made == [
        *PROGRAM, "run", str(tmp_path / "v.yaml"), "--set=segment.threshold=0.3", "--partition=a",
        "--restart", "--runner=slurm", "--workers=2",
    ]  # fmt: skip


def test_a_refusal_is_raised_as_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    line = to_line(Refused(66, "no volume is there", "mount it"))
    with pytest.raises(errors.NoInputError, match="no volume is there\n  what to do: mount it"):
        running.run_and_tell(["sh", "-c", f"echo first; echo '{line}'; exit 66"], quiet=False)
    assert capsys.readouterr().out.startswith("first\nerror: no volume is there")
    with pytest.raises(errors.TemporaryError, match="the run failed:\nsegment failed"):
        running.run_and_tell(["sh", "-c", "echo segment failed; exit 75"], quiet=True)
    assert capsys.readouterr().out == ""


def test_an_interrupt_stops_the_run_and_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(text: str, **_: object) -> None:
        assert text == "ready"
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    code = f"""
import pathlib, signal
def stop(*_):
    pathlib.Path({str(tmp_path / "stopped")!r}).touch()
    raise SystemExit(130)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
signal.pause()
"""
    with pytest.raises(KeyboardInterrupt):
        running.run_and_tell([sys.executable, "-c", code], quiet=False)
    assert (tmp_path / "stopped").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
