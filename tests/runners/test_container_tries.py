"""What follows a container that ended badly; no engine is needed: what containers do is made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import EXIT_CONFIG, EXIT_OK, EXIT_TEMPORARY
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.runners.docker import run, task
from magneton_tasks.runners.docker.engine import End
from magneton_tasks.runners.docker.task import Ending, Workshop
from magneton_tasks.work.events import Event
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import plan_run

GIB = 2**30
OUT, LOST, DONE = (EXIT_TEMPORARY, True), (EXIT_TEMPORARY, False), (EXIT_OK, False)


@dataclass
class Seen:
    """What a batch came to: its exit code, the memory of each container in GiB, what was told."""

    memory: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    code: int | None = None


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Works one batch whose containers end as given: exit code, and whether memory ran out."""

    def of(*ends: tuple[int, bool]) -> Seen:
        seen, left = Seen(), list(ends)

        def one(_: Workshop, made: Any, memory: int, __: object) -> tuple[Ending, End]:
            seen.memory.append(memory / GIB)
            seen.numbers.append(made.retry)
            code, is_killed = left.pop(0)
            return Ending(code), End(code, is_killed)

        monkeypatch.setattr(Workshop, "_run_once", one)
        monkeypatch.setattr(Workshop, "_check_owner", lambda *_: None)
        monkeypatch.setattr(Workshop, "_at_work", lambda *_: [])
        monkeypatch.setattr(task, "advice", lambda *_: "smaller blocks")
        config = parse_config(
            f"paths: {{input: {tmp_path}/a, output: {tmp_path}/b, work: {tmp_path}/c}}\n"
            "docker: {memory: 2GiB, max_memory: 4GiB, memory_growth: 1.5}\n",
            "v.yaml",
        )
        engine, plan = Mock(), Mock(run="r", attempt=1, config_path="/v.yaml")
        engine.find.return_value, engine.process_id.return_value = [], 0
        plan.memory = {"segment": Memory(GIB, GIB)}
        stopper = Mock(is_stopping=False, running=[])
        attempt = tmp_path / "c" / "runs" / "r" / "1"
        workshop = Workshop(engine, config, "image", 64 * GIB, stopper, plan, attempt)

        def tell(event: Event) -> None:
            seen.told.append(event.sentence())

        seen.code = run.run_stage(workshop, attempt, "segment", 1, 1, tell)[0]
        assert not left
        return seen

    return of


def test_a_container_that_ran_out_of_memory_is_followed_by_one_with_more(
    work: Callable[..., Seen],
) -> None:
    seen = work(OUT, OUT, DONE)
    assert (seen.code, seen.memory) == (EXIT_OK, [2, 3, 4])
    assert any("2.0 GiB were allowed" in t and "trying again with 3.0 GiB" in t for t in seen.told)


def test_where_no_more_memory_may_be_had_it_ends_for_good(work: Callable[..., Seen]) -> None:
    seen = work(OUT, OUT, OUT)
    assert (seen.code, seen.memory) == (EXIT_CONFIG, [2, 3, 4])
    assert any("no more is available" in t for t in seen.told)
    assert "smaller blocks" in seen.told[-1]


def test_what_a_signal_ended_is_tried_once_more_with_the_memory_that_it_had(
    work: Callable[..., Seen],
) -> None:
    seen = work(OUT, LOST, DONE)
    assert (seen.code, seen.memory, seen.numbers) == (EXIT_OK, [2, 3, 3], [1, 1, 2])
    assert work(LOST, LOST).code == EXIT_TEMPORARY, "a retry of the run may help"
    assert work((EXIT_CONFIG, False)).code == EXIT_CONFIG


def test_what_gives_the_volume_free_needs_no_projection(tmp_path: Path) -> None:
    """Release isn't a stage of the flow: it gets what the config says."""
    run = plan_run(write_tiny_volume(tmp_path, "docker: {memory: 2GiB}\n"))
    engine = Mock(**{"memory_bytes.return_value": 64 * GIB})
    workshop = Workshop.of_attempt(run.attempt.paths.root, engine)
    assert workshop.first_memory("release") == 2 * GIB
    assert workshop.first_memory("segment") == 2 * GIB
