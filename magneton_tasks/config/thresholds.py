"""Several thresholds from one set of blocks: their texts, and where the result of each lies; pure.

``{threshold}`` in `paths.output` stands for the text of the threshold that a result was cut at.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.config.types import THRESHOLD
from magneton_tasks.errors import ConfigError


def text_of(threshold: float) -> str:
    """The shortest decimal that reads back to the same value: ``0.3``, ``0``, ``0.00001``."""
    shortest = Decimal(repr(abs(float(threshold))))
    whole = shortest == shortest.to_integral_value()
    return format(shortest.to_integral_value() if whole else shortest, "f")


def thresholds_of(text: str) -> tuple[float, ...]:
    """Thresholds that somebody listed, ``.25,.3,.4``, in that order.

    Raises
    ------
    ValueError
        There is none, one isn't an affinity from 0 to 1, or is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not any(parts):
        raise ValueError("no threshold is given; list them as in .25,.3,.4")
    found = [_threshold(part) for part in parts]
    twice = next((t for n, t in enumerate(found) if t in found[:n]), None)
    if twice is not None:
        raise ValueError(f"the threshold {text_of(twice)} is given twice")
    return tuple(found)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} isn't a threshold: it must be a number from 0 to 1") from None
    if not 0 <= value <= 1:  # nor is nan
        raise ValueError(f"the threshold {text} isn't an affinity: it must lie between 0 and 1")
    return abs(value)  # -0 is called 0


def uses_threshold(config: RunConfig) -> bool:
    """Whether the output holds ``{threshold}``."""
    return THRESHOLD in config.paths.output


def with_threshold(config: RunConfig, threshold: float) -> RunConfig:
    """The same config with the output of this threshold."""
    output = config.paths.output.replace(THRESHOLD, text_of(threshold))
    return config.model_copy(update={"paths": config.paths.model_copy(update={"output": output})})


def config_at(config: RunConfig, threshold: float, lowest: float) -> RunConfig:
    """The config of one of several thresholds of a run, whose blocks all are the same.

    Parameters
    ----------
    lowest
        The lowest of the thresholds: blocks are merged down to it at least.
    """
    segment = config.segment.model_copy(update={"threshold": threshold})
    down_to = min(config.exact.lowest_threshold, lowest)
    exact = config.exact.model_copy(update={"lowest_threshold": down_to})
    found = config.model_copy(update={"segment": segment, "exact": exact})
    return with_threshold(found, threshold)


def outputs_of(config: RunConfig, thresholds: Sequence[float]) -> list[str]:
    """Where the results lie: that of each of several thresholds, or the only one; none while it's open."""
    several = [with_threshold(config, threshold).paths.output for threshold in thresholds]
    return several or ([] if is_open(config) else [config.paths.output])


def with_its_threshold(config: RunConfig) -> RunConfig:
    """The config with the output of the threshold that it sets; as it is if that comes from the map."""
    fixed = config.segment.threshold
    if fixed is None and config.method != "exact":
        fixed = USUAL_THRESHOLD
    return config if fixed is None else with_threshold(config, fixed)


def is_open(config: RunConfig) -> bool:
    """Whether nobody knows yet where the output lies: the map tells its threshold."""
    return uses_threshold(config) and config.segment.threshold is None


def is_text(text: str) -> bool:
    """Whether ``{threshold}`` may stand for a text."""
    try:
        (value,) = thresholds_of(text)
    except ValueError:
        return False
    return text_of(value) == text


def require_outputs(config: RunConfig, thresholds: Sequence[float], name: str) -> None:
    """Refuse several thresholds whose results would write over each other, or need other blocks.

    Parameters
    ----------
    thresholds
        Of one run.
    name
        Of the config's file.

    Raises
    ------
    ConfigError
        So they would.
    """
    if len(thresholds) < 2:
        return
    listed = ", ".join(map(text_of, thresholds))
    if config.method != "exact":
        raise ConfigError(
            f"{name}: the thresholds {listed} in one run need method: exact, and this is {config.method}",
            "set method: exact, or run each threshold by itself, with work and output of its own",
        )
    if not uses_threshold(config):
        output = config.paths.output
        raise ConfigError(
            f"{name}: paths.output doesn't hold {THRESHOLD}, so the results at {listed} would write "
            f"over each other in {output}",
            f"write, for example, paths.output: {output}-{THRESHOLD}",
        )
