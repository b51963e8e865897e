"""Slots of the Airflow pool: as many tasks as there are cores, fewer where they need memory."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from magneton_tasks.airflow.service import at_once, pools
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.base.geometry import Box
from magneton_tasks.config.read import parse_config
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.geometry import make_geometry
from magneton_tasks.plan.memory import TYPICAL, project_memory, usual_memory
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners import resources, this_machine
from magneton_tasks.stages.planning import group_work

GIB = 2**30


def machine(monkeypatch: pytest.MonkeyPatch, gib: float, cores: int) -> None:
    monkeypatch.setattr(this_machine, "memory_bytes", lambda: int(gib * GIB))
    monkeypatch.setattr(this_machine, "cores", lambda: cores)


@pytest.mark.parametrize(
    ("gib", "cores", "task_gib", "at_once"),
    [
        (23.4, 2, 1, 2),  # cores are the limit, also where they don't divide the memory
        (23.4, 8, 1, 8),
        (66, 16, 3.5, 16),
        (66, 16, 8, 8),  # memory is
        (64, 8, 8, 7),  # an eighth would leave nothing to Airflow's services
        (64, 16, 40, 1),
        (
            64,
            16,
            500,
            1,
        ),  # more than the machine has: plan refuses it; a task must not wait for ever
        (3, 8, 0.5, 1),  # less than a GiB a core: 8 of these would not fit
        (4, 4, 1, 2),
        (1, 2, 0.5, 1),  # what the services need, and no more: one at a time
    ],
)
def test_tasks_at_once(
    monkeypatch: pytest.MonkeyPatch, gib: float, cores: int, task_gib: float, at_once: int
) -> None:
    machine(monkeypatch, gib, cores)
    assert pools.machine_slots() // pools.task_slots(int(task_gib * GIB)) == at_once


@pytest.mark.parametrize(("method", "shape"), [("exact", (512,) * 3), ("overlap", (672,) * 3)])
def test_slots_of_a_stage_are_what_plan_projects(
    monkeypatch: pytest.MonkeyPatch, method: str, shape: tuple[int, int, int]
) -> None:
    """Of a volume whose blocks are as large as the config lets them be."""
    machine(monkeypatch, 1000, 1000)
    overlap = ", overlap: [32, 32, 32]" if method == "overlap" else ""
    config = parse_config(
        "paths: {input: 'file:///a', output: 'file:///b', work: /c}\n"
        f"method: {method}\nblock: {{size: [256, 256, 256]{overlap}}}\n",
        "v.yaml",
    )
    volume = VolumeFacts(Box.of_shape(shape), (8.0, 8.0, 8.0), (64, 64, 64), "uint8", 3)
    planned = project_memory(config, make_geometry(config, volume), TYPICAL)
    stages = ["segment", "faces" if method == "exact" else "count", "pool", "apply"]
    found = {stage: pools.stage_slots(config, stage, "local") for stage in stages}
    assert found == {stage: pools.task_slots(planned[stage].bound) for stage in stages}
    assert found["segment"] == (11 if method == "overlap" else 1), "a slot is a GiB"


@pytest.mark.parametrize(
    ("gib", "cores", "block"),
    [(8, 2, 128), (64, 16, 128), (64, 2, 512), (64, 16, 512), (200, 32, 800)],
)
@pytest.mark.parametrize("workers", [None, 1])
def test_groups_that_run_at_once_fit_the_machine(
    monkeypatch: pytest.MonkeyPatch, gib: float, cores: int, block: int, workers: int | None
) -> None:
    """Groups are cut to what a task may take, and never to more than the pool takes for it."""
    machine(monkeypatch, gib, cores)
    config = parse_config(
        "paths: {input: 'file:///a', output: 'file:///b', work: /c}\n"
        f"method: exact\nblock: {{size: [{block}, {block}, {block}]}}\n",
        "v.yaml",
    )
    most = max(memory.bound for memory in usual_memory(config).values())
    plan = Mock(memory_limit=most, workers=workers or resources.workers(most, int(gib * GIB)))
    rows = group_work.budget_of(Mock(config=config, plan=plan), 10**12)
    for stage in ("round0", "round7"):
        at_once = pools.machine_slots() // pools.stage_slots(config, stage, "local")
        assert at_once * cost_exact.round_bytes(rows) <= gib * GIB


@pytest.mark.parametrize(("gib", "cores"), [(4, 4), (16, 4), (23.4, 2), (64, 16), (500, 64)])
def test_slots_leave_room_for_airflow_itself(
    monkeypatch: pytest.MonkeyPatch, gib: float, cores: int
) -> None:
    machine(monkeypatch, gib, cores)
    assert pools.machine_slots() + at_once.services_bytes() / GIB <= gib


@pytest.mark.parametrize("cores", [1, 2, 16, 128])
def test_the_scheduler_keeps_as_many_processes_as_tasks_are_of_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cores: int
) -> None:
    machine(monkeypatch, 64, cores)
    kept = int(homes.settings(tmp_path, tmp_path)["AIRFLOW__CORE__PARALLELISM"])
    assert kept == cores + at_once.SHORT_TASKS
    assert kept > pools.machine_slots() // pools.task_slots(0), "what the pool admits finds one"
