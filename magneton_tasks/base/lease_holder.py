"""Who holds a lease, and when another run may have it; standard library only."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from magneton_tasks.base.units import human_moment
from magneton_tasks.errors import LeaseHeldError

LEASE_NAME = "lease"

#: A lease's length in bytes; padded, for a heartbeat rewrites a file in place.
LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease; times in unix seconds, for people to read."""

    run: str
    host: str
    pid: int
    boot_id: str
    process_bound: bool
    created: float
    heartbeat: float
    #: taken by a stage that a person started, not by plan: the last such stage gives it back
    by_hand: bool = False

    @classmethod
    def this_process(cls, run: str, process_bound: bool, by_hand: bool = False) -> Holder:
        now = time.time()
        host = socket.gethostname()
        return cls(run, host, os.getpid(), _boot_id(), process_bound, now, now, by_hand)

    @classmethod
    def from_bytes(cls, data: bytes) -> Holder:
        """The holder; an unknown one (run ``?``) where the lease is damaged or half-written."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return cls("?", "?", 0, "", False, 0.0, 0.0)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode("ascii").ljust(LENGTH - 1) + b"\n"

    @property
    def is_dead(self) -> bool:
        """Whether this holder was bound to a process of this machine that is no more."""
        if not self.process_bound or self.boot_id != _boot_id() or not self.boot_id:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's process
        return False

    def beaten_by(self, holder: Holder) -> Holder:
        """What a heartbeat of ``holder``, of the same run, makes of this lease.

        The workers of a run that is bound to a living process beat for it, not for themselves.
        """
        keeper = self if self.process_bound and not self.is_dead else holder
        by_hand = self.by_hand and holder.by_hand
        return replace(keeper, created=self.created, heartbeat=time.time(), by_hand=by_hand)

    def __str__(self) -> str:
        return f"run {self.run!r} (host {self.host}, pid {self.pid}, since {human_moment(self.created)})"


def refuse_unless_stale(
    place: str, lease: str, holder: Holder, age_s: float, stale_s: float
) -> None:
    """Go on only where nobody keeps a lease any more.

    Parameters
    ----------
    place, lease
        What is guarded, and the lease itself, as messages call them.
    age_s
        Seconds since the last sign of life.

    Raises
    ------
    LeaseHeldError
        Its holder lives.
    """
    if age_s > stale_s or holder.is_dead:
        return
    raise LeaseHeldError(
        f"{place} is in use by {holder}; its last sign of life was {max(age_s, 0):.0f} s ago",
        f"wait until that run ends, or stop it; if it is dead, rerun in "
        f"{max(stale_s - age_s, 0):.0f} s, or make sure of that and remove {lease}",
    )


def _boot_id() -> str:
    """Names this boot of this machine, and the space its process ids live in (a container's)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # not Linux: no process is ever known to be dead
