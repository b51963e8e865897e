"""Small objects of a bucket, written on a condition: what a lease in a bucket stands on.

Everything else in buckets goes through cloud-files, which has no conditional writes; boto3 and
google-cloud-storage, which it brings, have them. Both are imported inside functions (1 CPU s), and
credentials and endpoints are found as cloud-files finds them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was read.

    Attributes
    ----------
    version
        Differs from that of any other content: S3's ETag, Google's generation.
    age_s
        Seconds since it was written, by the store's own clock.
    """

    data: bytes
    version: str
    age_s: float


class Bucket(Protocol):
    """The objects below one URL.

    All methods raise what `base.location.connection_errors` makes of a failed connection or of missing
    rights.
    """

    def read(self, name: str) -> Stored | None:
        """An object; None where it isn't there."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that isn't there yet; False where it is."""

    def replace(self, name: str, data: bytes, version: str) -> bool:
        """Write an object that still has this version; False where it hasn't."""

    def delete(self, name: str, version: str) -> None:
        """Remove an object that still has this version; another one stays."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove up to a thousand objects, whatever they hold; those that aren't there are none."""

    def keeps_conditions(self, name: str, data: bytes) -> bool:
        """Whether the store really refuses to create ``name``, which was just written with ``data``."""


def age_s(written: datetime, date: str | None) -> float:
    """Seconds since an object was written; ``date``: of the store's answer, or this machine's clock."""
    from email.utils import parsedate_to_datetime  # heavy, and for buckets only

    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return (now - written).total_seconds()


def key_of(path: Any, name: str) -> str:
    """An object's name in its bucket."""
    return posixpath.join(path.path, name)  # as cloud-files makes it
