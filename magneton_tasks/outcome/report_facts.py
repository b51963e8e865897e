"""What a report says beside the records: settings, volume, versions, commands to go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from shlex import quote
from typing import Any

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config import keys
from magneton_tasks.config.read import RunConfig
from magneton_tasks.kernels import versions as kernels
from magneton_tasks.outcome import threshold_words
from magneton_tasks.work.attempt import Attempt

#: Libraries whose version a methods section may want.
LIBRARIES = ("cloud-volume", "numba", "numpy", "pyarrow", "scipy", "waterz", "zarr")

Data = dict[str, Any]


def settings(config: RunConfig) -> Iterator[Data]:
    """Each value of a config by its dotted key, with its default and its meaning.

    Keys that the chosen rule or supervoxels don't read are left out; ``default`` is missing where
    a value must be given.
    """
    data = config.resolved()
    schema = {**keys.sections(RunConfig), **keys.fields(RunConfig)}
    for key in dict.fromkeys(_null_section(data, key) or key for key in keys.fields(RunConfig)):
        value, field = keys.get(data, key), schema[key]
        if value is keys.MISSING:
            continue
        entry = {"key": key, "value": value, "title": field.title, "meaning": field.description}
        if not field.is_required():
            default = field.get_default()
            entry["default"] = json.loads(json.dumps(default))
        yield entry | {"changed": "default" not in entry or value != entry["default"]}


def _null_section(data: Data, key: str) -> str:
    """The section of a key where that is null (``box``), which is one value then."""
    section, _ = keys.split(key)
    return section if section and keys.get(data, section) is None else ""


def volume(attempt: Attempt) -> Data:
    """The input, the box and how it was cut."""
    config, plan = attempt.config, attempt.plan
    geometry, facts = plan.geometry, plan.volume
    box, is_exact = geometry.box, config.method == "exact"
    return {
        "method": config.method,
        "threshold": threshold_words.of_attempt(attempt),
        "input": config.paths.input,
        "mip": config.input.mip,
        "output": config.paths.output,
        "work": config.paths.work,
        "digest": plan.input_digest,
        "begin_vox": list(box.begin),
        "end_vox": list(box.end),
        "shape_vox": list(box.shape),
        "voxels": box.voxels,
        "is_cut_out": config.box is not None,
        "voxel_size_nm": list(facts.voxel_size_nm),
        "dtype": facts.dtype,
        "channels": facts.channels,
        "chunk_size_vox": list(facts.chunk_size),
        "blocks": len(geometry.grid),
        "grid": list(geometry.grid.shape),
        "read_vox": list(geometry.grid.largest_core if is_exact else geometry.grid.largest_read),
        "overlap_vox": [0, 0, 0] if is_exact else list(config.block.overlap),
        "cells": len(geometry.cells),
        "mips": len(geometry.factors),
        "output_files": plan.files,
    }


@cache  # for the report and its page: each library's metadata is parsed as an e-mail
def versions() -> Data:
    """Of Magneton, Python and `LIBRARIES` here, and of the kernels."""
    found = {"magneton": __version__, "python": sys.version.split()[0]}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    names = (
        "SEGMENT", "OVERLAP", "EXACT_BLOCK", "EXACT_FACES", "EXACT_ROUNDS", "EXACT_CUT", "POOLING", "DOWNSAMPLE", "LAYOUT"
    )  # fmt: skip
    return {"libraries": found, "kernels": {k.lower(): getattr(kernels, k) for k in names}}


def pool_report(attempt: Attempt) -> Data | None:
    """The report that pool wrote; None before. Exact: with figures of what was cut, once verified."""
    try:
        with files.open_read(attempt.stage_dir("pool") / "report.json") as file:
            report: Data = json_object(file.read())
    except (OSError, ValueError):
        return None
    cut: Data = report.pop("cut", {})
    return report | cut


def look(attempt: Attempt) -> Data:
    """The commands and addresses to look at the result and to go on."""
    plan, output = attempt.plan, attempt.config.paths.output
    arguments = quote(plan.config_path)
    if plan.partition is not None:
        arguments += f" --partition {quote(plan.partition)}"
    commands = {n: f"magneton {n} {arguments}" for n in ("view", "status", "run", "report")}
    path = output.removeprefix("file://") if output.startswith("file://") else None
    return {**commands, "source": f"precomputed://{output}", "path": path}
