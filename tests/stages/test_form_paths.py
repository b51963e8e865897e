"""Paths from a form: under the roots when plan looks, and still so when a worker does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from magneton_tasks.errors import EXIT_CONFIG, EXIT_OK
from tests.helpers.calls import Caller
from tests.helpers.tiny_volume import write_tiny_volume


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config outside the roots; its affinities are also in ``root/affinity``."""
    config = write_tiny_volume(tmp_path)
    root = tmp_path / "root"
    shutil.copytree(tmp_path / "affinity", root / "affinity")
    monkeypatch.setenv("MAGNETON_ROOTS", str(root))
    return config


def test_plan_refuses_what_leads_out(cli: Caller, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    for bad in (tmp_path / "affinity", tmp_path / "root" / "link" / "affinity"):
        done = cli("plan", volume, "--run-id=r", "--form", f"--set=paths.input={bad}")
        assert done.code == EXIT_CONFIG
        assert "paths.input from a form must be a path under $MAGNETON_ROOTS" in done.err
        assert str(tmp_path / "affinity") in done.err, "where the link leads is told"
    assert not (tmp_path / "work").exists()
    done = cli("plan", volume, "--run-id=r", f"--set=paths.input={tmp_path / 'affinity'}")
    assert done.code == EXIT_OK, "who has a shell needs no roots"


def test_a_worker_follows_the_link_again(cli: Caller, volume: Path, tmp_path: Path) -> None:
    affinity = tmp_path / "root" / "affinity"
    planned = cli("plan", volume, "--run-id=r", "--form", f"--set=paths.input=file://{affinity}")
    assert planned.code == EXIT_OK, planned.err
    attempt = planned.json["attempt"]
    affinity.rename(tmp_path / "root" / "moved")
    affinity.symlink_to(tmp_path / "affinity")
    done = cli("segment", "--run", attempt, "--batch", 0)
    assert done.code == EXIT_CONFIG and "paths.input from a form" in done.err + done.out
    affinity.unlink()
    (tmp_path / "root" / "moved").rename(affinity)
    assert cli("segment", "--run", attempt, "--batch", 0).code == EXIT_OK
