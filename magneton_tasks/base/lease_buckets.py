"""A lease as an object ``lease`` below the URL that it guards.

Taking a free one is a write that the store refuses where the object exists; a heartbeat, and
breaking a stale one, is a write that the store refuses where the object isn't the one that was
read. Age is counted by the store's own clock.

A store that knows no such conditions gives the best that can be had: whoever writes a lease looks
again `SETTLE_S` later whether it is still there. Two runs that begin within that time may then both
write; the one that wrote first learns it at this look, or at its next heartbeat.
"""

from __future__ import annotations

import time

from magneton_tasks.base.bucket import Bucket, Stored
from magneton_tasks.base.buckets import open_bucket
from magneton_tasks.base.lease_holder import LEASE_NAME, Holder, refuse_unless_stale
from magneton_tasks.errors import LeaseHeldError

#: How long a lease must stay as it was written, in seconds, in a store without conditions.
SETTLE_S = 5.0
#: A lease this fresh (s) isn't written again: Google takes one write a second of one object, and a
#: run may have hundreds of processes.
_FRESH_S = 10.0
#: Looks at a lease that others write to in the same moment.
_LOOKS = 5


class BucketLease:
    """The lease of an output in a bucket; what `base.lease.Guard` asks for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = f"{url}/{LEASE_NAME}"
        self._opened: Bucket | None = None

    @property
    def _bucket(self) -> Bucket:
        if self._opened is None:
            self._opened = open_bucket(self._url)
        return self._opened

    def take(self, holder: Holder, stale_s: float) -> bool:
        """Whether the lease was taken anew; False where it was this run's already."""
        data = holder.to_bytes()
        for _ in range(_LOOKS):
            found = self._bucket.read(LEASE_NAME)
            if found is None:
                if self._bucket.create(LEASE_NAME, data) and self._stays(data):
                    return True
                continue
            held = Holder.from_bytes(found.data)
            if held.run == holder.run:
                if self.beat(holder):
                    return False
                continue
            refuse_unless_stale(self._url, self.name, held, found.age_s, stale_s)
            if self._bucket.replace(LEASE_NAME, data, found.version) and self._stays(data):
                return True
        raise LeaseHeldError(f"the lease {self.name} changes hands all the time", "try again later")

    def _stays(self, data: bytes) -> bool:
        """Whether the lease just written is ours for sure."""
        if self._bucket.keeps_conditions(LEASE_NAME, data):
            return True
        time.sleep(SETTLE_S)
        found = self._bucket.read(LEASE_NAME)
        return found is not None and found.data == data

    def _ours(self, holder: Holder) -> Stored | None:
        """The lease, if it is of this run."""
        found = self._bucket.read(LEASE_NAME)
        is_ours = found is not None and Holder.from_bytes(found.data).run == holder.run
        return found if is_ours else None

    def beat(self, holder: Holder) -> bool:
        """Renew the lease if it is this run's; False where it's gone or another's."""
        for _ in range(_LOOKS):
            found = self._ours(holder)
            if found is None:
                return False
            held = Holder.from_bytes(found.data)
            renewed = held.beaten_by(holder)
            if found.age_s < _FRESH_S and renewed.process_bound == held.process_bound:
                return True
            if self._bucket.replace(LEASE_NAME, renewed.to_bytes(), found.version):
                return True
        return True  # others of this run renew it in the same moment, again and again

    def look(self) -> tuple[Holder, float] | None:
        """Who holds it, and how long ago it last beat, in seconds; None where it's free."""
        found = self._bucket.read(LEASE_NAME)
        return None if found is None else (Holder.from_bytes(found.data), max(found.age_s, 0.0))

    def give_back(self, holder: Holder) -> None:
        """Remove the lease if it is this run's."""
        for look in range(_LOOKS):
            found = self._ours(holder)
            if found is None:
                return
            if look == 0 and found.age_s >= _FRESH_S:
                # Nobody breaks a fresh one before it goes: not every store removes on a condition.
                self.beat(holder)
            else:
                self._bucket.delete(LEASE_NAME, found.version)
