"""Which attempts a work directory has, which is the newest, and where partitions lie."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from magneton_tasks.config.read import parse_config
from magneton_tasks.work import attempts
from magneton_tasks.work.paths import AttemptPaths, WorkPaths


def planned(work: Path, run: str, number: int, time_s: float) -> AttemptPaths:
    """An attempt that was planned at this time."""
    paths = AttemptPaths(WorkPaths(work).run(run) / str(number))
    paths.root.mkdir(parents=True)
    paths.plan.write_text("{}")
    os.utime(paths.plan, (time_s, time_s))
    return paths


def test_the_newest_comes_first_whatever_its_run(tmp_path: Path) -> None:
    first, last = planned(tmp_path, "b", 1, 100), planned(tmp_path, "a", 1, 300)
    again = planned(tmp_path, "b", 2, 200)
    found = attempts.newest_first(WorkPaths(tmp_path))
    assert [f.paths for f in found] == [last, again, first]
    assert [f.paths for f in attempts.newest_first(WorkPaths(tmp_path), "b")] == [again, first]


def test_of_attempts_planned_at_once_the_later_number_is_newer(tmp_path: Path) -> None:
    """File systems with a clock of whole seconds give both the same time."""
    for number in (2, 10, 9):
        planned(tmp_path, "run", number, 100)
    found = attempts.newest_first(WorkPaths(tmp_path))
    assert [f.paths.number for f in found] == [10, 9, 2]


def test_what_isnt_an_attempt_is_passed_over(tmp_path: Path) -> None:
    kept = planned(tmp_path, "run", 1, 100)
    (tmp_path / "runs" / "notes.txt").write_text("a file among the runs")
    (tmp_path / "runs" / "run" / "notes").mkdir()
    stopped = tmp_path / "runs" / "run" / "2"
    stopped.mkdir()
    assert [f.paths for f in attempts.newest_first(WorkPaths(tmp_path))] == [kept]
    assert [p.root for p in attempts.every(WorkPaths(tmp_path))] == [kept.root, stopped]


def test_a_placeholder_stands_for_the_same_partition_everywhere(tmp_path: Path) -> None:
    for place in ("a/a-work", "b/b-work", "a/b-work"):
        (tmp_path / place).mkdir(parents=True)
    pattern = f"{tmp_path}/{{partition}}/{{partition}}-work"
    assert attempts.at_partitions(pattern) == {
        "a": tmp_path / "a/a-work",
        "b": tmp_path / "b/b-work",
    }


def test_a_volume_has_a_work_directory_for_each_partition(tmp_path: Path) -> None:
    for name, time_s in (("monday", 100), ("tuesday", 200)):
        planned(tmp_path / name, "run", 1, time_s)
    paths = {
        "input": f"file://{tmp_path}/affinity",
        "output": f"file://{tmp_path}/{{partition}}-out",
        "work": f"{tmp_path}/{{partition}}",
    }
    config = parse_config(yaml.safe_dump({"paths": paths}), "a config")
    assert [w.work.name for w in attempts.work_directories(config)] == ["monday", "tuesday"]
    newest = attempts.newest_of_each(config)
    assert [f.paths.root.parents[2].name for f in newest] == ["tuesday", "monday"]
    found = attempts.newest_of_run(config, "run")
    assert found is not None and found.time_s == 200
