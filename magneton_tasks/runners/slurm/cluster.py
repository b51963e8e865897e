"""A Slurm cluster that is watched: how jobs stand, as its programs tell it.

``squeue`` is asked first, for all jobs at once and by their ids; of those that have left it, or that
failed, ``sacct`` tells the end, which it may take a while to know. If there's no accounting,
``scontrol show job`` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.scheduler import BusyError
from magneton_tasks.runners.arrays.states import States
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.states import (
    SACCT,
    SCONTROL,
    SQUEUE,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)

_UNKNOWN_ID = "Invalid job id"
_NO_ACCOUNTING = "accounting storage is disabled"


@dataclass(frozen=True, slots=True)
class SlurmCluster:
    """Slurm as seen from here; fulfils `arrays.scheduler.Cluster`."""

    slurm: Slurm
    title: ClassVar[str] = "Slurm"

    def looks(self, turn: Callable[[], Awaitable[None]]) -> SlurmLooks:
        return SlurmLooks(self.slurm, turn)

    def to_data(self) -> dict[str, Any]:
        return self.slurm.to_data()


class SlurmLooks:
    """What one poller asks; fulfils `arrays.scheduler.Looks`."""

    def __init__(self, slurm: Slurm, turn: Callable[[], Awaitable[None]]) -> None:
        self._slurm, self._turn = slurm, turn
        self._has_sacct = True

    async def queue(self, jobs: Sequence[str]) -> States:
        answer = await self._slurm.run_async((*SQUEUE, f"--jobs={','.join(jobs)}"))
        if answer.code != 0 and _UNKNOWN_ID not in answer.err:
            raise BusyError(f"squeue: {answer.err.strip() or answer.code}")
        return parse_squeue(answer.out)

    async def ends(self, jobs: Sequence[str]) -> States:
        found = await self._sacct(jobs) if self._has_sacct else None
        if found is not None:
            return found
        found = {}
        for job in jobs:
            found |= await self._scontrol(job)
        return found

    async def _sacct(self, jobs: Sequence[str]) -> States | None:
        """None: accounting can't be asked."""
        try:
            answer = await self._slurm.run_async((*SACCT, f"--jobs={','.join(jobs)}"))
        except BusyError:
            return None  # slurmdbd is down
        except ConfigError:
            self._has_sacct = False
            return None
        if answer.code != 0 and _NO_ACCOUNTING in answer.err:
            self._has_sacct = False
        return parse_sacct(answer.out) if answer.code == 0 else None

    async def _scontrol(self, job: str) -> States:
        """The same of slurmctld: not before its turn."""
        await self._turn()
        answer = await self._slurm.run_async((*SCONTROL, job))
        return parse_scontrol(answer.out)
