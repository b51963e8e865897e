"""Hashes of what decides each stage's results: effective values, nothing else.

`config.deciding` says which keys these are, under which ids they are hashed, and what a younger
key stood for before it existed. `segment.threshold` is hashed as the number that the run takes; the
one that pool takes from the map (exact) as the rule that finds it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from magneton_tasks.config import keys
from magneton_tasks.config.deciding import table
from magneton_tasks.config.field_facts import ALWAYS
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.kernels import versions
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Fingerprints, digest


def make_fingerprints(config: RunConfig, geometry: Geometry) -> Fingerprints:
    """The fingerprint of each stage, which includes that of the stage before."""
    exact = config.method == "exact"
    grid = geometry.grid
    deciding: list[object] = [
        {"cuts": grid.cuts, "halo_low": grid.halo_low, "halo_high": grid.halo_high},
        decisive(config, "mask"),
    ]
    if exact:
        deciding.append(decisive(config, "exact"))
    kernel = versions.EXACT_BLOCK if exact else versions.SEGMENT
    segment = digest(
        [versions.LAYOUT, kernel, config.method, config.paths.input, decisive(config, "input")],
        [
            *deciding,
            decisive(config, "segment") | {"threshold": lowest_threshold(config)},
        ],
    )
    if exact:
        faces = digest(segment, versions.EXACT_FACES)
        rounds = digest(faces, versions.EXACT_ROUNDS)
        fixed = config.segment.threshold
        chosen = ["map", versions.MAP_THRESHOLD] if fixed is None else fixed
        cut = [versions.EXACT_CUT, chosen, decisive(config, "pool")]
        pool = digest(rounds, *cut, config.segment.min_size_vox)
        between = {"count": "", "faces": faces, "rounds": rounds, "cut": digest(pool, "cut")}
        written = segment  # the records of cells tell which cut they hold
    else:
        count = digest(segment, versions.OVERLAP)
        pool = digest(
            count, versions.POOLING, decisive(config, "pool"), config.segment.min_size_vox
        )
        between = {"count": count}
        written = pool
    apply = digest(
        written,
        config.paths.output,
        decisive(config, "apply"),
        geometry.factors,
        geometry.cell_mips,
        versions.DOWNSAMPLE,
        *(["sharded"] if geometry.sharded else []),
    )
    downsample = digest(apply, "downsample")
    if exact:
        between["result"] = digest(pool, apply)
    for section, kernel in (("mesh", versions.MESH), ("skeleton", versions.SKELETON)):
        if getattr(config, section) is not None:
            grid = asdict(geometry)[section]
            of_cells = digest(downsample, section, kernel, decisive(config, section), grid)
            between |= {section: of_cells, f"{section}_shards": of_shards(of_cells)}
    return Fingerprints(segment, pool=pool, apply=apply, downsample=downsample, **between)


def of_shards(of_cells: str) -> str:
    """Of the stage that joins what cells of meshes or skeletons left; ``of_cells``: of that stage."""
    return digest(of_cells, "shards")


def lowest_threshold(config: RunConfig) -> float:
    """What blocks merge down to; exact: low enough that cuts may lie anywhere above."""
    fixed = config.segment.threshold
    if config.method != "exact":
        return USUAL_THRESHOLD if fixed is None else fixed
    lowest = config.exact.lowest_threshold
    return lowest if fixed is None else min(lowest, fixed)


def decisive(config: RunConfig, group: str) -> dict[str, Any]:
    """What decides results of a group of keys (`deciding.GROUPS`), by id, as JSON holds it.

    Keys that aren't read stay out, and younger ones that stand where they stood before they existed.
    """
    data, found = config.resolved(), dict[str, Any]()
    for key, row in table(type(config)).items():
        value = keys.get(data, key)
        if row.id is None or not row.id.startswith(f"{group}.") or value is keys.MISSING:
            continue
        if row.before is ALWAYS or digest(value) != digest(row.before):
            keys.put(found, row.id.removeprefix(f"{group}."), value)
    return found
