"""Which threshold a run segments with: what the config says, or where it says nothing, what is usual."""

from __future__ import annotations

from collections.abc import Mapping

from magneton_tasks.config import RunConfig
from magneton_tasks.plan import ThresholdChoice
from magneton_tasks.schema import USUAL_THRESHOLD

#: The key, as overrides have it.
KEY = "segment.threshold"


def choose(config: RunConfig, overrides: Mapping[str, object]) -> ThresholdChoice:
    """The threshold of a run of this config, which holds its ``overrides``."""
    given = config.segment.threshold
    if given is None:
        return ThresholdChoice(USUAL_THRESHOLD, "config")
    return ThresholdChoice(given, "config" if overrides.get(KEY) is None else "run")
