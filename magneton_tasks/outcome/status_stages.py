"""The stages of an attempt as `magneton status` shows them: at one threshold, of several or the only one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from magneton_tasks.outcome import current
from magneton_tasks.outcome.attempt_summary import summary_of
from magneton_tasks.outcome.current import Now
from magneton_tasks.outcome.status_blocks import Blocks, failed_outside
from magneton_tasks.outcome.summary import RESULTS, StageSummary
from magneton_tasks.plan.plan import Plan
from magneton_tasks.stages.proof import words
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
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
    at
        Of several thresholds the one that it is of; "": it is of all of them, or there's but one.
    """

    summary: StageSummary
    cleaned: int = 0
    proof: str | None = None
    stale_why: dict[str, int] = field(default_factory=dict)
    working: list[Data] = field(default_factory=list)
    failures: list[Data] = field(default_factory=list)
    damage: list[Data] = field(default_factory=list)
    at: str = ""

    @property
    def stage(self) -> str:
        """Its name."""
        return self.summary.stage

    @property
    def name(self) -> str:
        """The stage, and its threshold where there are several: ``apply 0.3``."""
        return f"{self.stage} {self.at}".strip()

    @property
    def is_done(self) -> bool:
        """Whether each of its blocks or cells has a result."""
        return self.summary.done == self.summary.total

    def data(self, now: float, *, is_alive: bool) -> Data:
        """As plain data."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "summary"}
        return {**self.summary.data(now, is_alive=is_alive), **own}


class AtThreshold:
    """What became of an attempt at one threshold; `refresh` reads only what was added since.

    Attributes
    ----------
    shown
        What the states are of: while something works on it, the attempt; else the attempt as it
        would be planned now, so that what a changed config or input left behind is stale.
    """

    def __init__(self, attempt: Attempt, now: Now, *, alive: bool, check: bool) -> None:
        self.attempt, self.now, self.check = attempt, now, check
        self.shown = attempt if alive else now.attempt
        other = self.shown.plan.fingerprints != attempt.plan.fingerprints
        older: list[Plan] = current.older_plans(self.shown) if other else []
        self.states = VolumeStates(self.shown, alive=alive, older=older, output=now.output)
        self.blocks = Blocks(self.shown, self.states)

    @property
    def is_as_planned(self) -> bool:
        """Whether the config and the input are those of the attempt, as far as they decide results."""
        was, now = self.attempt.plan, self.now.attempt.plan
        return (was.fingerprints, was.input_digest) == (now.fingerprints, now.input_digest)

    def stage(self, stage: str) -> StageStatus:
        status = StageStatus(summary_of(self.shown, self.states, stage))
        why, damage = Counter[str](), self._damage(stage) if self.check else {}
        own = self._own_records()
        for each in self.states.judged(stage):
            kind: str = "corrupt" if each.key in damage else each.kind
            if kind in RESULTS and each.state is not None:
                status.summary.add(
                    kind,
                    each.key,
                    is_own=each.state.holds(own),
                    time=each.state.time,
                    **each.state.figures._asdict(),
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

    def _damage_of_verify(self) -> list[Data]:
        if not self.check or "apply" not in self.attempt.plan.stages:
            return []
        from magneton_tasks.outcome import damage  # heavy

        return [asdict(one) for one in damage.of_verify(self.shown)]

    def verify(self) -> StageStatus:
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
            status.damage = self._damage_of_verify()
            counts["corrupt" if status.damage else "done"], status.proof = 1, words(result)
        counts["stale"] = len(status.stale_why)
        return status
