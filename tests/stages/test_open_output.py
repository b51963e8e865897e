"""``{threshold}`` in the output, and the map tells which: pool settles where the output lies, and takes it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base import lease
from magneton_tasks.clean.find import find
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import EXIT_CONFIG, ConfigError, LeaseHeldError
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.outcome.status import Status
from magneton_tasks.plan.stage_table import STAGES
from magneton_tasks.stages import pool_exact, settling
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.volumes import Run, in_fork, kill_at, read_segmentation
from tests.stages.test_exact_pipeline import EXACT
from tests.stages.test_further_thresholds import affinity

pytestmark = pytest.mark.usefixtures("childless")

BEFORE_POOL = STAGES[: STAGES.index("pool")]
BEHIND_POOL = STAGES[STAGES.index("cut") :]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return volumes.write_precomputed(tmp_path_factory.mktemp("input") / "affinity", affinity())


def config_in(folder: Path, source: str, output: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        **EXACT, "block": {"size": [16, 16, 32]}, "apply": {"chunk_size": [8, 8, 8], "mips": 1},
        "segment": {"threshold": None},
    }  # fmt: skip
    url = f"file://{output or folder / 'at-{threshold}'}"
    return volumes.write_config(folder, given, input=source, output=url)


@pytest.fixture
def config(tmp_path: Path, source: str) -> Path:
    return config_in(tmp_path, source)


def is_whole(run: Run) -> bool:
    """Whether the result is that of a run whose threshold and output are fixed, voxel by voxel."""
    settled = Attempt.open(run.attempt.paths.root)
    threshold = settled.threshold.number
    assert settled.config.paths.output.endswith(f"/at-{threshold:g}")
    folder = run.attempt.paths.root.parents[3] / "fixed"
    fixed = config_in(folder, settled.config.paths.input.removesuffix("/"))
    alone = volumes.run_pipeline(fixed, {"segment.threshold": threshold})
    found = read_segmentation(settled.config.paths.output)
    return bool((found == read_segmentation(alone)).all())


def worked(run: Run, *stages: str) -> Run:
    """The stages that a run has, with what pool has settled from there on."""
    run.attempt = Attempt.open(run.attempt.paths.root)
    for stage in stages:
        if stage in run.plan.work or stage == "verify":
            run.attempt = Attempt.open(run.attempt.paths.root)
            volumes.run_stages(run, stages=[stage])
    return run


def outputs(config: Path) -> list[str]:
    return sorted(path.name for path in config.parent.glob("at-*"))


def test_pool_settles_the_output_and_all_else_takes_it_from_there(config: Path) -> None:
    run = volumes.plan_run(config)
    assert run.attempt.is_open and outputs(config) == []
    assert any("known once pool has taken the threshold" in note for note in run.plan.notes)
    shown = BlockMap(run.attempt)
    shown.refresh()
    worked(run, *STAGES)
    assert run.code == 0 and is_whole(run)
    settled = Attempt.open(run.attempt.paths.root)
    name = f"at-{settled.threshold.number:g}"
    assert outputs(config) == [name]
    owner = json.loads((config.parent / name / "magneton.json").read_text())
    assert owner["threshold"] == settled.threshold.value and owner["finished"]
    assert lease.look(config.parent / name) is not None  # as long as the run has it
    volumes.release(worked(run))
    shown.refresh()
    assert shown.summary["volume"]["output"].endswith(name)
    assert shown.columns["apply"].count("d") == len(run.plan.geometry.cells)
    status = Status(config, None)
    assert all(stage.is_done for stage in status.stages) and status.is_as_planned
    assert not find(load_config(config), "stale", older_than_s=0).items
    again = volumes.plan_run(config, run="again")
    assert again.plan.nothing_to_do and again.attempt.config.paths.output.endswith(name)
    volumes.release(again)


def killed_while_settling(run: Run, n: int) -> int:
    """Ends the process that calls it; ``n``: in which of its steps."""
    settle = settling.settle

    def first(attempt: Attempt) -> None:
        kill_at(n, "rename", "replace", "link")
        settle(attempt)

    setattr(pool_exact, "settle", first)  # noqa: B010 (of this process alone)
    return worked(run, "pool").code


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_kill_9_between_the_choice_and_the_claim(config: Path, n: int) -> None:
    """The same attempt goes on as Airflow's next try, and so does another run."""
    run = worked(volumes.plan_run(config, run="killed"), *BEFORE_POOL)

    assert in_fork(lambda: killed_while_settling(run, n)) == -signal.SIGKILL
    if n % 2:
        worked(run, "pool", *BEHIND_POOL)
    else:
        volumes.release(worked(run))
        run = worked(volumes.plan_run(config, run="then"), *STAGES)
    assert run.code == 0 and is_whole(run)


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory, source: str) -> str:
    """What the output will be called."""
    config = config_in(tmp_path_factory.mktemp("first"), source)
    run = worked(volumes.plan_run(config), *BEFORE_POOL, "pool")
    return Path(Attempt.open(run.attempt.paths.root).config.paths.output).name


def layer_of_others(folder: Path) -> Path:
    """A layer that another tool wrote; no scale of it is one of ours."""
    folder.mkdir()
    (folder / "info").write_text('{"made_by": "others", "scales": []}')
    return folder


def test_an_output_of_somebody_else_is_left_alone(config: Path, name: str) -> None:
    theirs = layer_of_others(config.parent / name)
    run = worked(volumes.plan_run(config), *BEFORE_POOL, "pool")
    assert run.code == EXIT_CONFIG
    assert "didn't write" in run.result("pool")["failures"][0]["cause"]
    assert [path.name for path in theirs.iterdir()] == ["info"]
    (theirs / "info").unlink()
    theirs.rmdir()
    run.codes.clear()
    assert worked(run, "pool", *BEHIND_POOL).code == 0  # the same task, tried again


@pytest.mark.parametrize("n", [0, 2, 3])
def test_an_output_of_somebody_else_is_taken_where_plan_was_told_so(
    config: Path, name: str, n: int
) -> None:
    """Also if pool is killed in between (0: it isn't): another run is asked again until it's ours."""
    theirs = layer_of_others(config.parent / name)
    run = volumes.plan_run(config, run="killed", overwrite_output=True)
    assert any("is replaced, whoever wrote it" in note for note in run.plan.notes)
    worked(run, *BEFORE_POOL)
    if n:
        assert in_fork(lambda: killed_while_settling(run, n)) == -signal.SIGKILL
        volumes.release(worked(run))
        if not (theirs / "magneton.json").exists():
            with pytest.raises(ConfigError, match="didn't write"):
                volumes.plan_run(config, run="not told so")
            assert "others" in (theirs / "info").read_text()
    assert worked(run, "pool", *BEHIND_POOL).code == 0
    assert n or is_whole(run)
    assert "others" not in (theirs / "info").read_text()
    volumes.release(worked(run))


def test_two_runs_at_once_do_not_share_an_output(config: Path, source: str) -> None:
    first = worked(volumes.plan_run(config), *BEFORE_POOL, "pool")
    other = config_in(config.parent / "other", source, str(config.parent / "at-{threshold}"))
    second = worked(volumes.plan_run(other, run="second"), *BEFORE_POOL, "pool")
    assert second.codes["pool"] == [LeaseHeldError.exit_code]
    assert worked(first, *BEHIND_POOL).code == 0


def test_a_restart_asks_the_map_anew(config: Path) -> None:
    volumes.release(worked(volumes.plan_run(config), *STAGES))
    again = volumes.plan_run(config, run="again", restart=True)
    assert again.attempt.is_open
    assert worked(again, *STAGES).code == 0 and is_whole(again)
