"""The directory of a new attempt, and what differs from the one before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import yaml

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.config.differences import differing
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan.plan import Plan
from magneton_tasks.runners.arrays import limits as limits_of_cluster
from magneton_tasks.runners.arrays.scheduler import Limits
from magneton_tasks.work import attempts
from magneton_tasks.work.paths import MARK, AttemptPaths, WorkPaths


def mark(work: WorkPaths) -> None:
    """The marker that tells `clean` that this directory is ours."""
    if not work.marker.exists():
        content = {"magneton": MARK, "version": __version__}
        files.write_atomic(work.marker, json.dumps(content).encode())


def freeze(
    work: WorkPaths, config: RunConfig, plan: Plan, limits: Limits | None
) -> tuple[Plan, AttemptPaths]:
    """Write config and plan into a new attempt directory; two at once get two numbers.

    ``limits``: of the cluster that the run works on.
    """
    run_dir = work.run(plan.run)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        number = max((p.number for p in attempts.every(work, plan.run)), default=0)
        while True:
            number += 1
            root = run_dir / str(number)
            try:
                root.mkdir()
                break
            except FileExistsError:
                continue
    except OSError as error:
        raise files.writing_failed(run_dir, error) from error
    plan = replace(plan, attempt=number)
    paths = AttemptPaths(root)
    text = yaml.safe_dump(config.resolved(), sort_keys=False, default_flow_style=None)
    files.write_atomic(paths.config, text.encode())
    files.write_atomic(paths.plan, plan.to_json().encode())
    for each in (paths, *(paths.at(cut.name) for cut in plan.cuts)):
        files.make_directory(each.block_log("", 0).parent)
    if limits is not None:
        limits_of_cluster.write(root, limits)
    return plan, paths


def differences(work: WorkPaths, plan: Plan, config: RunConfig) -> list[str]:
    """What differs from the frozen config of the attempt before, as ``key: before -> now``."""
    this = work.run(plan.run) / str(plan.attempt)
    try:
        found = attempts.newest_first(work)
    except OSError:
        return []
    before = next((f.paths for f in found if f.paths.root != this), None)
    known = frozen_settings(before) if before is not None else None
    if known is None:
        return []
    settings, threshold = known
    return differing(settings, config.resolved(), (threshold, plan.threshold.settled))


def frozen_settings(paths: AttemptPaths) -> tuple[dict[str, Any], float | None] | None:
    """An attempt's config as any release may have frozen it, and the threshold that its plan took.

    That is an affinity; None where the plan doesn't tell. None alone: they can't be read.
    """
    try:
        data = yaml.safe_load(paths.config.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None
    told = attempts.plan_data(paths)
    if not isinstance(data, dict) or told is None:
        return None
    chosen = told.get("threshold")
    if not isinstance(chosen, dict) or chosen.get("is_guess"):
        return data, None
    return data, chosen.get("value")
