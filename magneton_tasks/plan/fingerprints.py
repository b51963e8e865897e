"""Hashes of what decides each stage's results (DESIGN 3.5): effective values, nothing else.

A key that stands at the value it had before it existed isn't hashed, so a new key makes nobody's
results stale::

    keys of `FIRST`      hashed, whatever they stand at
    keys of `NEVER`      decide nothing here
    any younger key       hashed where it differs from what was before it: its value in `BEFORE`,
                          else its default

`segment.threshold` is hashed as the number that the run takes, whether it was written or null.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from magneton_tasks.config.model import RunConfig
from magneton_tasks.kernels import versions
from magneton_tasks.plan.plan import Fingerprints, Geometry, digest

#: Of younger keys whose default isn't what was before them, or has changed since: dotted key -> value.
BEFORE: dict[str, object] = {}

#: Keys of the sections that decide results, of the first release.
FIRST = frozenset({
    "input.mip", "input.channels", "input.offset_sign", "input.invert", "input.scale",
    "mask.path", "mask.mip",
    "exact.s2", "exact.dust", "exact.advanced", "exact.advanced.t_low", "exact.advanced.t_high",
    "exact.advanced.s_min", "exact.advanced.t_size",
    "segment.threshold", "segment.merge_function", "segment.supervoxels", "segment.aff_thresholds",
    "segment.interior_threshold", "segment.min_distance",
    "pool.rule", "pool.min_overlap_vox", "pool.min_frac", "pool.min_iou",
    "apply.chunk_size", "apply.encoding", "apply.compress",
})  # fmt: skip
#: Content is the business of digests; mips count by their factors; pool reads the least size.
NEVER = frozenset({
    "input.version", "input.identity", "segment.min_size_vox", "pool.largest_object_warning",
    "apply.mips",
})  # fmt: skip


def make_fingerprints(config: RunConfig, geometry: Geometry, threshold: float) -> Fingerprints:
    """The fingerprint of each stage, which includes that of the stage before.

    Parameters
    ----------
    threshold
        The one that the run takes; the config's may be null.
    """
    kernel, between = versions.SEGMENT, versions.OVERLAP
    grid = geometry.grid
    deciding: list[object] = [
        {"cuts": grid.cuts, "halo_low": grid.halo_low, "halo_high": grid.halo_high},
        decisive(config, "mask"),
    ]
    if config.method == "exact":
        kernel, between = versions.EXACT_BLOCK, versions.EXACT_JOIN
        deciding.append(decisive(config, "exact"))
    segment = digest(
        [versions.LAYOUT, kernel, config.method, config.paths.input, decisive(config, "input")],
        [*deciding, decisive(config, "segment") | {"threshold": threshold}],
    )
    count = digest(segment, between)
    # The tree decides nothing; records tell groups of different trees apart.
    join = digest(count, "join") if geometry.joins is not None else ""
    pool = digest(count, versions.POOLING, decisive(config, "pool"), config.segment.min_size_vox)
    apply = digest(
        pool,
        config.paths.output,
        decisive(config, "apply"),
        geometry.factors,
        geometry.cell_mips,
        versions.DOWNSAMPLE,
    )
    return Fingerprints(segment, count, pool, apply, digest(apply, "downsample"), join)


def decisive(config: RunConfig, section: str) -> dict[str, Any]:
    """What a section says that decides results, as JSON holds it; keys that aren't read stay out."""
    return _decisive(config.resolved()[section], getattr(config, section), section)


def _decisive(values: dict[str, Any], section: BaseModel, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        dotted, inner = f"{name}.{key}", getattr(section, key)
        if dotted in NEVER:
            continue
        if isinstance(inner, BaseModel):
            value = _decisive(value, inner, dotted)
            if value or dotted in FIRST:
                found[key] = value
        elif dotted in FIRST or digest(value) != digest(_before(section, dotted, key)):
            found[key] = value
    return found


def _before(section: BaseModel, dotted: str, key: str) -> object:
    """What a younger key stood for before it existed."""
    return BEFORE[dotted] if dotted in BEFORE else type(section).model_fields[key].default
