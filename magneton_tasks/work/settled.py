"""The output of an attempt whose threshold pool takes from the map, ``{threshold}`` being a part of its path.

plan knows neither. pool writes down which threshold it is, and the fingerprints that follow from the
output, before it checks and takes that output: whoever opens the attempt from then on has both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.plan import Fingerprints, ThresholdChoice
from magneton_tasks.work.paths import AttemptPaths


@dataclass(frozen=True, slots=True)
class Settled:
    """What pool has settled."""

    threshold: ThresholdChoice
    fingerprints: Fingerprints

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Settled:
        """Back from what JSON makes of it."""
        choice = ThresholdChoice.from_data(data["threshold"])
        return cls(choice, Fingerprints(**data["fingerprints"]))


def write(paths: AttemptPaths, settled: Settled) -> None:
    """Write it down; raises `OutputError` where that fails."""
    files.write_atomic(paths.settled, json.dumps(asdict(settled)).encode())


def read(paths: AttemptPaths, wait_s: float = 0) -> Settled | None:
    """What was settled; None: nothing yet, within ``wait_s``.

    Raises
    ------
    BadDataError
        The file holds something else.
    NotVisibleError
        It was waited for, in vain.
    """
    if wait_s:
        files.await_file(paths.settled, None, wait_s)
    try:
        with files.open_read(paths.settled) as file:
            return Settled.from_data(json_object(file.read()))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise BadDataError(
            f"{paths.settled} doesn't say which threshold was taken: {error}",
            "clear the task plan (or rerun) to plan it again",
        ) from error
