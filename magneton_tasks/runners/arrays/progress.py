"""What is known of a batch's jobs between waits, as data; `job_files` keeps it beside the batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from magneton_tasks.runners.arrays.decide import Failure
from magneton_tasks.runners.arrays.states import expression, parse_indexes
from magneton_tasks.runners.retry import Cause, Need

#: In the file indexes are ranges, ``0-41,44``.
_RANGES = BeforeValidator(parse_indexes), PlainSerializer(expression)
Indexes = Annotated[list[int], *_RANGES]
Parts = Annotated[set[int], *_RANGES]


@dataclass
class Submitted:
    """One array that was submitted; ``job`` "": it was about to be."""

    job: str
    number: int
    indexes: Indexes
    need: Need
    submitted: float
    is_over: bool = False


@dataclass
class Progress:
    """State of a batch; what isn't done, in flight or failed is to be submitted.

    Attributes
    ----------
    jobs
        All arrays so far.
    done
        Parts that are complete.
    tries, failed, needs
        Of parts: how often they were submitted, how often that failed for which cause, and what the
        next job asks for.
    failures
        Parts that can't be mended.
    first
        How the first try of parts ended that were tried again.
    blamed
        How often jobs failed on nodes where the failure may lie in the node.
    exclude
        Nodes to keep away from.
    accepted
        How many indexes a limited cluster took at a time; None: no limit was met.
    limited_since
        Since when the scheduler has refused or been silent, in unix seconds.
    """

    jobs: list[Submitted] = field(default_factory=list)
    done: Parts = field(default_factory=set)
    tries: dict[int, int] = field(default_factory=dict)
    failed: dict[int, dict[Cause, int]] = field(default_factory=dict)
    needs: dict[int, Need] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    first: dict[int, str] = field(default_factory=dict)
    blamed: dict[str, int] = field(default_factory=dict)
    exclude: list[str] = field(default_factory=list)
    accepted: int | None = None
    limited_since: float | None = None
    #: the manifest was looked through for what earlier tries had done
    is_looked_through: bool = False

    @property
    def in_flight(self) -> list[Submitted]:
        """Arrays that haven't ended, as far as is known."""
        return [j for j in self.jobs if j.job and not j.is_over]

    def waiting(self, parts: int) -> list[int]:
        """Parts that are to be submitted."""
        busy = {i for j in self.in_flight for i in j.indexes}
        failed = {f.part for f in self.failures}
        return [p for p in range(parts) if p not in self.done | busy | failed]
