"""Refuse a map that, by its samples, isn't read right, unless the config says that it is."""

from __future__ import annotations

from collections.abc import Sequence

from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import BadDataError
from magneton_tasks.stages.planning.sampling import Samples

KEY = "input.doubtful"
HINT = f"change what is named here; if the map is right all the same, set {KEY}: warn"
_CUT_OFF = (
    "the sampled boxes hold affinities 0 and 1 only, which tell no threshold: give the map as it was "
    "predicted, or set segment.threshold (mean affinities of contacts are compared with it)"
)


def doubts(config: RunConfig, samples: Samples) -> list[str]:
    """What can't be right about the map as it is read, in sentences with the keys to change."""
    if samples.doubts or config.segment.threshold is not None:
        return samples.doubts
    shares = [c["fraction_zero"] + c["fraction_one"] for c in samples.channels]
    return [_CUT_OFF] if min(shares) > 1 - 1e-9 else []


def refuse(config: RunConfig, samples: Samples) -> tuple[str, ...]:
    """Refuse a map that isn't read right; returns notes where ``input.doubtful`` is ``warn``.

    Raises
    ------
    BadDataError
    """
    found = doubts(config, samples)
    if found and config.input.doubtful == "refuse":
        raise error_for(config.paths.input, found)
    return tuple(found)


def error_for(url: str, found: Sequence[str], hint: str = HINT) -> BadDataError:
    """The error for what was found."""
    return BadDataError(f"{url} can't be right as it is read: {'; '.join(found)}", hint)
