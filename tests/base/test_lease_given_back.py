"""Leases at the end of what holds them: on a full disk, and of stages that a person started."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base import files, lease
from magneton_tasks.cli.run import stages
from magneton_tasks.errors import OutputError
from magneton_tasks.work import lease_by_hand
from tests.helpers.tiny_volume import write_tiny_volume

pytestmark = pytest.mark.usefixtures("warm")


def magneton(*arguments: object, by_runner: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "magneton_tasks", *map(str, arguments)]
    more = {"MAGNETON_DIE_WITH_PARENT": str(os.getpid())} if by_runner else {}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **more}
    )


def planned(folder: Path) -> tuple[Path, Path]:
    """A config, and an attempt whose lease is held as plan leaves it."""
    config = write_tiny_volume(folder)
    done = magneton("plan", config, "--run-id", "by-hand")
    assert done.returncode == 0, done.stderr
    return config, Path(json.loads(done.stdout.splitlines()[-1])["attempt"])


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which nothing can be written, not even in place (btrfs, ZFS, a quota)."""

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_all", refuse)
    monkeypatch.setattr(os, "pwrite", refuse)


def leases(folder: Path) -> list[str]:
    return [name for name in ("work", "segmentation") if (folder / name / "lease").exists()]


def test_a_full_disk_keeps_no_lease(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    held = lease.acquire([tmp_path / "a", tmp_path / "b"], "run", process_bound=False)
    request.getfixturevalue("full")
    held.release()
    assert not os.listdir(tmp_path / "a")
    assert not os.listdir(tmp_path / "b")


def test_the_stage_release_needs_no_space(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    _, attempt = planned(tmp_path)
    assert leases(tmp_path) == ["work", "segmentation"]
    request.getfixturevalue("full")
    assert stages.run_single("release", attempt) == 0
    assert leases(tmp_path) == []


def test_a_run_that_has_the_lease_keeps_it_without_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease.acquire([tmp_path], "run", process_bound=False)

    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_all", refuse)
    lease.acquire([tmp_path], "run", process_bound=False).release()
    assert os.listdir(tmp_path) == []


def test_one_place_that_fails_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease.acquire([tmp_path / "a", tmp_path / "b"], "run", process_bound=False)
    unlink = Path.unlink

    def failing(self: Path, missing_ok: bool = False) -> None:
        if self.parent.name == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(OutputError):
        held.release()
    assert not os.listdir(tmp_path / "b")


def test_a_lease_of_another_run_stays(tmp_path: Path) -> None:
    lease.acquire([tmp_path], "other", process_bound=False)
    lease.give_back([tmp_path], "run")
    found = lease.look(tmp_path)
    assert found is not None
    assert found[0].run == "other"


# ------------------------------------------------------------------ by hand
def test_a_stage_by_hand_gives_the_lease_back(tmp_path: Path) -> None:
    config, attempt = planned(tmp_path)
    assert magneton("segment", "--run", attempt).returncode == 0
    assert leases(tmp_path) == ["work", "segmentation"]  # plan's: the run isn't over
    assert magneton("release", "--run", attempt).returncode == 0
    assert magneton("segment", "--run", attempt).returncode == 0
    assert leases(tmp_path) == []
    done = magneton("plan", config, "--run-id", "another")  # and needn't wait
    assert done.returncode == 0, done.stderr


def test_a_stage_that_fails_by_hand_gives_it_back_too(tmp_path: Path) -> None:
    _, attempt = planned(tmp_path)
    assert magneton("release", "--run", attempt).returncode == 0
    for file in (tmp_path / "affinity" / "8_8_8").iterdir():
        file.write_bytes(b"short")
    assert magneton("segment", "--run", attempt).returncode != 0
    assert leases(tmp_path) == []


def test_a_stage_of_a_runner_leaves_it_to_the_runner(tmp_path: Path) -> None:
    _, attempt = planned(tmp_path)
    assert magneton("release", "--run", attempt).returncode == 0
    assert magneton("segment", "--run", attempt, by_runner=True).returncode == 0
    assert leases(tmp_path) == ["work", "segmentation"]


def test_of_several_by_hand_the_last_gives_it_back(tmp_path: Path) -> None:
    places: list[lease.Place] = [tmp_path / "work", tmp_path / "segmentation"]
    first, second, third = ExitStack(), ExitStack(), ExitStack()
    first.enter_context(lease_by_hand.kept(places, "run"))
    second.enter_context(lease_by_hand.kept(places, "run"))
    first.close()
    third.enter_context(lease_by_hand.kept(places, "run"))
    second.close()
    assert leases(tmp_path) == ["work", "segmentation"]
    third.close()
    assert leases(tmp_path) == []


def test_a_runner_that_takes_over_keeps_it(tmp_path: Path) -> None:
    with lease_by_hand.kept([tmp_path / "work"], "run"):
        lease.acquire([tmp_path / "work"], "run", process_bound=False)
    assert leases(tmp_path) == ["work"]
