"""What `magneton status` tells of a volume, from the records of its newest attempt."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from magneton_tasks.base import lease
from magneton_tasks.outcome import current, threshold_words
from magneton_tasks.outcome.status_blocks import Blocks, failed_outside
from magneton_tasks.outcome.summary import RESULTS, StageSummary, summary_of
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import STAGES
from magneton_tasks.runners.arrays.job_files import jobs_of_tasks
from magneton_tasks.runners.arrays.states import expression
from magneton_tasks.stages.proof import words
from magneton_tasks.work import results
from magneton_tasks.work.attempts import latest_attempt, open_latest
from magneton_tasks.work.states import VolumeStates

Data = dict[str, Any]


@dataclass
class StageStatus:
    """One stage: how far it is, and what isn't as it should be.

    Attributes
    ----------
    summary
        Counts, speed, time left and peak.
    cleaned
        How many of those that are done have no labels (rounds: files) any more (`magneton clean`).
    stale_why
        How many are stale for which reason.
    working
        The blocks that run, with host and since when (unix s).
    proof
        Of verify: how much was looked at (`stages.proof.words`); None where it isn't done.
    failures, damage
        What failed; the damaged files that ``--check`` found.
    """

    summary: StageSummary
    cleaned: int = 0
    proof: str | None = None
    stale_why: dict[str, int] = field(default_factory=dict)
    working: list[Data] = field(default_factory=list)
    failures: list[Data] = field(default_factory=list)
    damage: list[Data] = field(default_factory=list)

    @property
    def stage(self) -> str:
        """Its name."""
        return self.summary.stage

    @property
    def is_done(self) -> bool:
        """Whether each of its blocks or cells has a result."""
        return self.summary.done == self.summary.total

    def data(self, now: float, *, is_alive: bool) -> Data:
        """As plain data."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "summary"}
        return {**self.summary.data(now, is_alive=is_alive), **own}


class Status:
    """The status of a volume; `refresh` looks again, and reads only what was added since.

    Attributes
    ----------
    attempt
        The newest one, as it was frozen.
    shown
        What the states are of: while something works on it, the attempt; else the attempt as it
        would be planned now, so that what a changed config or input left behind is stale.
    """

    def __init__(self, config: Path, partition: str | None, *, check: bool = False) -> None:
        self._config, self._partition, self.check = config, partition, check
        self.attempt = open_latest(config, partition)
        self._open()

    def _open(self) -> None:
        self.now = current.as_planned_now(self.attempt, self._config)
        self.alive = current.is_alive(self.attempt)
        self.shown = self.attempt if self.alive else self.now.attempt
        other = self.shown.plan.fingerprints != self.attempt.plan.fingerprints
        older: list[Plan] = current.older_plans(self.shown) if other else []
        self.states = VolumeStates(
            self.shown, alive=self.alive, older=older, output=self.now.output
        )
        self.blocks = Blocks(self.shown, self.states)
        self._collect()

    def refresh(self) -> None:
        """Look again; another attempt may have begun, or this one ended."""
        newest = latest_attempt(self._config, self._partition).root
        if newest != self.attempt.paths.root:
            self.attempt = open_latest(self._config, self._partition)
        elif current.is_alive(self.attempt) == self.alive:
            self.states.refresh(self.alive)
            self._collect()
            return
        self._open()

    def _collect(self) -> None:
        self.stages = [self._stage(s) for s in STAGES[:-1] if self.states.total(s)]
        self.stages.append(self._verify())

    @property
    def is_as_planned(self) -> bool:
        """Whether the config and the input are those of the attempt, as far as they decide results."""
        was, now = self.attempt.plan, self.now.attempt.plan
        return (was.fingerprints, was.input_digest) == (now.fingerprints, now.input_digest)

    # ------------------------------------------------------------------ counting
    def _stage(self, stage: str) -> StageStatus:
        status = StageStatus(summary_of(self.shown, self.states, stage))
        why, damage = Counter[str](), self._damage(stage) if self.check else {}
        own = self._own_records()
        for each in self.states.judged(stage):
            kind: str = "corrupt" if each.key in damage else each.kind
            if kind in RESULTS and each.state is not None:
                seconds, cpu_s, peak_bytes = each.state.figures
                status.summary.add(
                    kind,
                    each.key,
                    is_own=each.state.holds(own),
                    time=each.state.time,
                    seconds=seconds,
                    cpu_s=cpu_s,
                    peak_bytes=peak_bytes,
                )
                status.cleaned += each.state.is_cleaned
                continue
            record = each.parsed().record if kind in ("failed", "running") else None
            is_own = record is not None and self.shown.is_ours(record)
            status.summary.add_record(kind, each.key, record, is_own=is_own)
            if kind == "stale":
                why[each.why or ""] += 1
            elif kind == "failed" and record is not None:
                status.failures.append(self.blocks.failure(stage, record))
            elif kind == "running" and record is not None:
                status.working.append(self.blocks.working(stage, record))
        status.stale_why, status.damage = dict(why), [d for found in damage.values() for d in found]
        status.failures += failed_outside(self.attempt.paths, stage)
        return status

    def _own_records(self) -> str:
        """What the lines of records hold that this attempt wrote: they needn't be parsed."""
        own = {"run": self.shown.name, "attempt": self.shown.plan.attempt}
        return json.dumps(own, separators=(",", ":"))[1:-1] + ","

    def _damage(self, stage: str) -> dict[int, list[Data]]:
        from magneton_tasks.outcome import status_check  # heavy

        found: dict[int, list[Data]] = {}
        for one in status_check.check(self.shown, stage, self.states):
            found.setdefault(one.key, []).append(self.blocks.place(stage, one.key) | asdict(one))
        return found

    def _verify(self) -> StageStatus:
        status = StageStatus(StageSummary.planned(self.attempt.plan, "verify"))
        counts = status.summary.counts
        result = results.of_verify(self.attempt.paths)
        if result is None:
            counts["missing"] = 1
            return status
        status.failures = [{**f, "key": 0} for f in result.get("failures", ())]
        if status.failures:
            counts["failed"] = 1
        elif self.shown is not self.attempt and not self.is_as_planned:
            status.stale_why = {"the config or the input has changed since": 1}
        elif self.now.output and "apply" in self.attempt.plan.stages:
            status.stale_why = {self.now.output: 1}
        else:
            counts["done"], status.proof = 1, words(result)
        counts["stale"] = len(status.stale_why)
        return status

    # ------------------------------------------------------------------ block by block
    def undone(self) -> Iterator[Data]:
        """The blocks and cells that a run would still do."""
        for status in self.stages[:-1]:
            yield from self.blocks.undone(status.stage, {d["key"] for d in status.damage})

    def slowest(self, n: int) -> list[Data]:
        """The ``n`` blocks and cells that took longest."""
        return self.blocks.slowest([s.stage for s in self.stages], n)

    def jobs(self) -> list[Data]:
        """The attempt's job arrays on a cluster, and those of them that aren't known to be over."""
        return [
            {
                "task": task,
                "job": job.job,
                "indexes": expression(job.indexes),
                "try": job.number,
                "memory_bytes": job.need.memory,
                "time_s": job.need.time_s,
                "over": job.is_over,
                "submitted": job.submitted,
            }
            for task, known in jobs_of_tasks(self.attempt.paths.root)
            for job in known.jobs
            if job.job
        ]

    # ------------------------------------------------------------------ all of it
    def data(self) -> Data:
        """What ``--json`` prints; times in unix seconds."""
        plan, held = self.attempt.plan, lease.holder_of(self.attempt.work.work)
        return {
            "run": plan.run,
            "attempt": plan.attempt,
            "directory": str(self.attempt.paths.root),
            "planned": plan.created,
            "partition": plan.partition,
            "overrides": dict(plan.overrides),
            "threshold": threshold_words.as_data(self.shown.threshold),
            "alive": self.alive,
            "holder": None
            if held is None
            else {
                "run": held[0].run,
                "host": held[0].host,
                "pid": held[0].pid,
                "since": held[0].created,
                "heartbeat_age_s": held[1],
            },
            "as_planned": self.is_as_planned,
            "changed": list(self.now.changes),
            "notes": list(self.now.notes),
            "checked": self.check,
            "jobs": self.jobs(),
            "stages": [s.data(time.time(), is_alive=self.alive) for s in self.stages],
        }
