"""`magneton clean --what jobs` cancels jobs of runs that are over, and no others."""

from __future__ import annotations

import ast
from pathlib import Path

from click.testing import CliRunner

from magneton_tasks.base.lease import acquire
from magneton_tasks.cli.main import cli
from magneton_tasks.plan.plan import Plan
from magneton_tasks.runners.jobs import open_jobs
from magneton_tasks.work.paths import AttemptPaths
from tests.runners.slurm.fake_cluster import Cluster, Planned


def states(cluster: Cluster) -> set[str]:
    return {t["state"] for about in cluster.jobs.values() for t in about["tasks"].values()}


def clean(paths: AttemptPaths, *more: str) -> str:
    config = Plan.from_json(paths.plan.read_text()).config_path
    done = CliRunner().invoke(cli, ["clean", config, "--what", "jobs", *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_jobs_of_the_run_that_holds_the_volume_stay_and_others_go(
    cluster: Cluster, planned: Planned, tmp_path: Path
) -> None:
    paths = planned()
    jobs = open_jobs(paths.root, "segment", 0)
    jobs.step(jobs.adopt())
    work = jobs.about.attempt.work.work
    assert "no job of a run that is over" in clean(paths, "--yes")  # the run holds its lease
    lease = acquire([work, tmp_path / "volume" / "segmentation"], "test", process_bound=False)
    lease.release()
    assert "of run test" in clean(paths, "--dry-run")
    assert states(cluster) == {"PENDING"}
    assert "cancelled 1 job" in clean(paths, "--yes")
    assert states(cluster) == {"CANCELLED"}


def test_another_volumes_jobs_are_not_touched(cluster: Cluster, planned: Planned) -> None:
    paths = planned()
    jobs = open_jobs(paths.root, "segment", 0)
    jobs.step(jobs.adopt())
    with cluster.edited() as state:
        text = repr(state["jobs"]).replace("/volume/work", "/other/work")
        state["jobs"] = ast.literal_eval(text)
    (jobs.about.attempt.work.work / "lease").unlink()
    assert "no job" in clean(paths, "--yes")
    assert states(cluster) == {"PENDING"}
