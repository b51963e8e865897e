"""`magneton maintain`: what old runs left goes, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from magneton_tasks.base.lease import acquire
from magneton_tasks.errors import EXIT_OK
from tests.helpers.calls import Caller
from tests.helpers.volumes import Run


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def _labels(work: Path) -> Path:
    (found,) = work.glob("segment-*/labels.zarr")
    return found


def test_dry_and_for_real_with_decoys(finished: Run, cli: Caller, tmp_path: Path) -> None:
    config = Path(finished.plan.config_path)
    folder, work = config.parent, config.parent / "work"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    segment = _labels(work).parent
    (segment / "link").symlink_to(outside)
    (work / "link").symlink_to(outside)
    (work / "notes.txt").write_text("mine too")
    before = sorted(p for p in folder.rglob("*") if p.is_file())

    dry = cli("maintain", config, "--older-than=0s", "--dry-run")
    assert dry.code == EXIT_OK and f"{segment}: cache" in dry.out
    assert sorted(p for p in folder.rglob("*") if p.is_file()) == before

    kept = cli("maintain", config, "--older-than=1d")
    assert kept.json["bytes"] == 0 and _labels(work).exists(), "too young"

    done = cli("maintain", config, "--older-than=0s")
    assert done.code == EXIT_OK
    assert done.json["bytes"] == dry.json["bytes"] > 0
    assert not list(work.glob("segment-*/labels.zarr"))
    assert list(work.glob("pool-*/**/*.parquet")), "merge checkpoints stay unless asked for"
    assert (outside / "precious").read_text() == "mine" and (work / "link").is_symlink()
    assert (segment / "link").is_symlink() and (work / "notes.txt").exists()
    assert json.loads((work / "freed.json").read_text())["bytes"] == done.json["bytes"]
    assert cli("run", config, "--dry-run").out.count("nothing to do"), "the result is still known"


def test_caches_of_a_run_that_was_not_verified_stay(finished: Run, cli: Caller) -> None:
    work = finished.attempt.work.work
    (result,) = work.glob("runs/*/*/results/verify.json")
    result.unlink()
    done = cli("maintain", finished.plan.config_path, "--older-than=0s", "--what=cache")
    assert done.json["bytes"] == 0 and _labels(work).exists()


def test_a_volume_in_use_is_left_alone(finished: Run, cli: Caller) -> None:
    work = finished.attempt.work.work
    with acquire([work], "another", process_bound=True):
        done = cli("maintain", finished.plan.config_path, "--older-than=0s")
    assert done.code == EXIT_OK and done.json["bytes"] == 0
    assert "left alone" in done.out and "another" in done.out
    assert _labels(work).exists()


def test_all_partitions_of_a_volume(finished: Run, cli: Caller) -> None:
    config, work = Path(finished.plan.config_path), finished.attempt.work.work
    days = config.parent / "days"
    days.mkdir()
    work.rename(days / "2026-01-31")
    (days / "2026-02-01").mkdir()  # somebody's: it bears no marker
    text = config.read_text().replace(str(work), f"{days}/{{partition}}")
    config.write_text(text)
    done = cli("maintain", config, "--older-than=0s", "--dry-run")
    assert done.json["bytes"] > 0
    assert f"{days}/2026-02-01: nothing there yet" in done.out
