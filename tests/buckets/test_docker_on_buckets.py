"""The docker runner's own process has no credentials of buckets: containers keep the lease there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from magneton_tasks.base import lease
from magneton_tasks.cli.run import containers as run_docker
from magneton_tasks.config.read import load_config
from magneton_tasks.runners.docker import run as docker_run
from magneton_tasks.runners.docker.task import Workshop
from magneton_tasks.work.guarded import lease_places
from tests.helpers import volumes


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Attempts whose stage release was run in a container."""
    found: list[Path] = []

    def run_stage(workshop: object, root: Path, stage: str, *_: object) -> dict[None, int]:
        assert stage == "release"
        found.append(root)
        return {None: 0}

    monkeypatch.setattr(docker_run, "run_stage", run_stage)
    monkeypatch.setattr(Workshop, "of_attempt", lambda root: None)
    return found


def containers_of(config: Path, root: Path) -> Any:
    place: Any = run_docker.Containers.__new__(run_docker.Containers)
    place._workshop = SimpleNamespace(config=load_config(config))
    place._paths = SimpleNamespace(root=root)
    return place


def test_a_lease_in_a_bucket_is_left_to_containers(tmp_path: Path, released: list[Path]) -> None:
    config = volumes.write_config(tmp_path, output="s3://nowhere/seg")
    place = containers_of(config, tmp_path / "attempt")
    assert place.guarded(load_config(config)) == [tmp_path / "work"]
    place.give_back()
    assert released == [tmp_path / "attempt"]


def test_a_lease_of_files_is_kept_here(tmp_path: Path, released: list[Path]) -> None:
    config = volumes.write_config(tmp_path)
    place = containers_of(config, tmp_path / "attempt")
    assert place.guarded(load_config(config)) == lease_places(load_config(config))
    place.give_back()
    assert released == []


def test_what_a_killed_run_holds_in_a_bucket_is_given_back(
    tmp_path: Path, released: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(volumes.write_config(tmp_path, output="s3://nowhere/seg"))
    for number in ("9", "10"):
        attempt = tmp_path / "work" / "runs" / "dead" / number
        attempt.mkdir(parents=True)
        (attempt / "plan.json").write_text("{}")
    lease.acquire([tmp_path / "work"], "dead", process_bound=True)
    monkeypatch.setattr(lease.Holder, "is_dead", property(lambda self: self.run == "dead"))
    removed: list[str] = []

    def reap_others(run: str, attempt: int) -> list[str]:
        removed.append(run)
        return []

    workshop: Any = SimpleNamespace(config=config, reap_others=reap_others)
    run_docker._break_dead_lease(workshop, [tmp_path / "work"], "next")
    assert released == [tmp_path / "work/runs/dead/10"] and removed == [""]
    assert not (tmp_path / "work" / "lease").exists()
