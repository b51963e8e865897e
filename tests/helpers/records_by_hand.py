"""Records of an attempt of eight blocks, written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.validity import count_input, pool_input

N_BLOCKS = 8


def add(attempt: Attempt, stage: str, key: int, state: Any, /, **values: Any) -> None:
    """A record of this attempt, later than all others of its key."""
    manifest = attempt.manifest(stage)
    given = {"attempt": attempt.plan.attempt, **values}
    with manifest.writer(given.pop("run", attempt.name), stage, 0) as writer:
        writer.add(key, state, after=manifest.read().get(key), **given)


def segmented(attempt: Attempt, keys: Iterable[int] = range(N_BLOCKS)) -> None:
    for key in keys:
        values = {"input": attempt.plan.input_digest, "output": f"labels{key}", "info": {"n": 3}}
        add(attempt, "segment", key, "done", **values)


def counted(attempt: Attempt) -> dict[int, str]:
    grid, labels = attempt.plan.geometry.grid, {k: f"labels{k}" for k in range(N_BLOCKS)}
    inputs = {k: count_input(labels, k, grid.later_neighbours(k)) for k in range(N_BLOCKS)}
    for key, digest in inputs.items():
        add(attempt, "count", key, "done", input=digest)
    return inputs


def written(attempt: Attempt) -> str:
    """A finished volume; returns the digest of its pool."""
    segmented(attempt)
    pool = pool_input(counted(attempt))
    add(attempt, "pool", 0, "done", input=pool)
    for key in range(len(attempt.plan.geometry.cells)):
        add(attempt, "apply", key, "done", input="x", info={"pool": pool, "chunks": []})
    return pool
