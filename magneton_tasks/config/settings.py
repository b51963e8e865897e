"""From a config to the settings that kernels read: each takes the keys that it has a field for.

The threshold is the plan's, because the config's may be null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

from magneton_tasks.base.methods import ExactSettings, Rule, SegmentSettings
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.types import Section

S = TypeVar("S", ExactSettings, Rule, SegmentSettings)


def segment_settings(config: RunConfig, threshold: float) -> SegmentSettings:
    """What segments a block with waterz (method overlap)."""
    return _by_name(SegmentSettings, (config.segment,), threshold=threshold)


def exact_settings(config: RunConfig, threshold: float) -> ExactSettings:
    """What all stages of the exact method segment and join with."""
    sections = (config.exact, config.exact.advanced)
    return _by_name(ExactSettings, sections, threshold=threshold)


def matching_rule(config: RunConfig) -> Rule:
    """Which pairs pool joins (method overlap)."""
    return _by_name(Rule, (config.pool,), name=config.pool.rule)


def _by_name(kind: type[S], sections: tuple[Section, ...], **others: object) -> S:
    """Settings with the values of sections, and others; each key lies in one of them."""
    found = {key: value for section in sections for key, value in section}
    names = {field.name for field in fields(kind)}
    make: Callable[..., S] = kind
    return make(**{key: value for key, value in (found | others).items() if key in names})
