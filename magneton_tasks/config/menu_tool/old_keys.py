"""What becomes of each key of the menu tool: carried over, translated, or left out with the reason.

What the tool did with a key is told from its code (see `old_config`); where that differs from what
its template says, the reason says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magneton_tasks.base.location import locate
from magneton_tasks.config.menu_tool import old_stages
from magneton_tasks.config.menu_tool.old_config import OldKey, nearest
from magneton_tasks.config.menu_tool.old_translation import Translation
from magneton_tasks.errors import ConfigError

_NOTHING = "the menu tool read it and did nothing with it"
_RECORDS = "records of what is done lie in paths.work"
_CLUSTER = (
    "not converted: runs go to this machine; for a cluster, set the sections runner and slurm"
)
_GRAPH = "of the menu tool's graph pipeline, another method: only its overlap pipeline is converted"
_SUPERVOXELS = "of the menu tool's export of supervoxels, which Magneton doesn't have"
#: One fate for whole sections.
_SECTIONS = {
    "hpc": _CLUSTER,
    "slurm": _CLUSTER,
    "export_tif": "not needed: each run writes a preview (preview.png), and the result opens in Neuroglancer",
    "mito": "a mode that Magneton doesn't have",
    "bouton": "a mode that Magneton doesn't have",
    "synapse": "a mode that Magneton doesn't have",
} | dict.fromkeys(
    (
        "fragments_stage",
        "edges_stage",
        "global_merge_stage",
        "relabel_stage",
        "segment_props_stage",
    ),
    _GRAPH,
)
#: One reason for single keys.
_LEFT_OUT = {
    "merge_stage.require_recip": f"{_NOTHING}; pool.rule: mutual is what its name promises",
    "merge_stage.dom_ratio": _NOTHING,
    "merge_stage.min_iou": f"{_NOTHING}; pool.rule: iou has a min_iou that is read",
    "merge_stage.max_voxel_size": "it tested a label's voxels inside the overlap instead of the object's size; pool.largest_object_warning looks at objects",
    "checkpoint.segmentation_dir": _RECORDS, "checkpoint.merge_dir": _RECORDS,
    "segmentation_stage.metadata_dir": _RECORDS, "merge_stage.metadata_dir": _RECORDS,
    "merge_stage.workers": "local.workers is for all stages",
    "paths.fragments": _GRAPH, "block.core": _GRAPH, "block.halo": _GRAPH,
    "checkpoint.fragments_dir": _GRAPH, "checkpoint.relabel_dir": _GRAPH,
    "paths.supervox_output": _SUPERVOXELS, "paths.supervox_agglomerate_npz": _SUPERVOXELS,
    "segmentation_stage.emit_supervoxels": _SUPERVOXELS,
    "merge_stage.aff_channel_order": _SUPERVOXELS, "merge_stage.supervox_workers": _SUPERVOXELS,
}  # fmt: skip


def translate(old: Sequence[OldKey]) -> Translation:
    """Everything but the block size, for which the machine counts (see `cli.config.importing`)."""
    to = Translation(old)
    _paths(to)
    _input(to)
    _mask(to)
    _block(to)
    old_stages.segment(to)
    old_stages.seeds(to)
    old_stages.pool(to)
    _local(to)
    for n, key in enumerate(old):
        if n not in to.rows:
            _rest(to, n, key)
    return to


def _rest(to: Translation, n: int, old: OldKey) -> None:
    """Keys that have one fate, are empty, or aren't known."""
    name = old.name or ""
    if old.value is None or old.value in ({}, ""):
        to.say(n, "left out", "empty")
    elif name in _SECTIONS or name in _LEFT_OUT:
        to.say(n, "left out", _SECTIONS.get(name) or _LEFT_OUT[name])
    else:
        to.say(n, "unknown", f"not known: left out; nearest: {nearest(old.key)}")


# ------------------------------------------------------------------ places
def _paths(to: Translation) -> None:
    for name in ("paths.input", "paths.output"):
        if found := to.take(name):
            _url(to, found[0], name, found[1])
    if found := to.take("paths.output_local_base"):
        n, value = found
        try:
            url, why = new_url(str(value))
            path = locate(url).path
        except ConfigError as error:
            to.say(n, "left out", f"{error.what}; {error.hint}")
            return
        if path is None:
            to.say(n, "left out", "the work directory must be a path on a file system")
            return
        to.set(
            n,
            "paths.work",
            str(path),
            "block labels and records lie in it"
            + (f"; {why}" if why.startswith("file://") else ""),
        )


def _url(to: Translation, n: int, key: str, value: Any) -> None:
    try:
        url, why = new_url(str(value))
        locate(url)
    except ConfigError as error:
        to.say(n, "left out", f"{error.what}; {error.hint}")
        return
    to.set(n, key, url, why)
    if why.startswith("file://"):
        to.warnings.append(f"{key}: {why}")


def new_url(value: str) -> tuple[str, str]:
    """A volume's URL as it's written here, and what was changed."""
    prefix, _, rest = value.partition("://")
    if prefix == "file" and rest and not rest.startswith("/"):
        return f"file:///{rest.rstrip('/')}", (
            f"file://{rest.partition('/')[0]}/... is not a URL of /{rest.partition('/')[0]}/...: the menu "
            "tool took it for a path below the directory in which it was started; look where the data lies"
        )
    if "://" in value:
        return value.rstrip("/"), ""
    path = Path(os.path.expanduser(value))
    if path.is_absolute():
        return f"file://{path}", "a path, as URL"
    return f"file://{path.absolute()}", "a relative path, taken from the present directory"


def _input(to: Translation) -> None:
    mip = to.take("segmentation_stage.mip")
    if mip:
        to.set(mip[0], "input.mip", mip[1])
    if found := to.take("merge_stage.mip"):
        same = found[1] == (mip[1] if mip else 0)
        to.say(
            found[0],
            "left out",
            "the same as input.mip"
            if same
            else f"differs from the mip that was segmented ({mip[1] if mip else 0}), which counts",
        )
    if found := to.take("mode.type"):
        n, mode = found
        if mode == "neuron":
            to.say(n, "left out", "not needed: neurons are what Magneton segments")
        else:
            to.say(n, "left out", "a mode that Magneton doesn't have")
            to.warnings.append(
                f"mode.type: {mode} was another method (a watershed of one probability map); "
                "Magneton segments affinity maps, so the result won't be the same thing"
            )


def _mask(to: Translation) -> None:
    flag, path = to.take("mask.flag"), to.take("mask.path")
    on = bool(flag[1]) if flag else False
    if flag:
        said = "mask.path says it" if on else "no mask was used, and none is"
        to.say(flag[0], "translated" if on else "left out", said)
    if path and on:
        _url(to, path[0], "mask.path", path[1])
    elif path:
        to.say(path[0], "left out", "the mask was switched off (mask.flag)")


# ------------------------------------------------------------------ blocks
def _block(to: Translation) -> None:
    for name, key in (("block.size", "block.size"), ("block.overlap", "block.overlap")):
        if found := to.take(name):
            n, value = found
            numbers = _three(value)
            if numbers is None:
                to.say(n, "left out", "must be three whole numbers, [z, y, x]")
            else:
                to.set(n, key, numbers)
    if found := to.take("block.roi"):
        n, value = found
        if isinstance(value, list) and len(value) == 6 and all(isinstance(v, int) for v in value):
            z1, z2, y1, y2, x1, x2 = value
            to.set(
                n,
                "box",
                {"begin": [z1, y1, x1], "end": [z2, y2, x2]},
                "exactly this box; the menu tool moved it to the borders of chunks",
            )
        else:
            to.say(n, "left out", "must be [z1, z2, y1, y2, x1, x2]")


def _three(value: Any) -> list[int] | None:
    if isinstance(value, list) and len(value) == 3 and all(type(v) is int for v in value):
        return list(value)
    return None


# ------------------------------------------------------------------ the machine
def _local(to: Translation) -> None:
    parallel, workers = (
        to.take("segmentation_stage.parallel"),
        to.take("segmentation_stage.workers"),
    )
    one = parallel is not None and not parallel[1]
    if parallel:
        to.say(
            parallel[0],
            "translated" if one else "left out",
            "local.workers: 1" if one else "not needed: local.workers says how many",
        )
    if one:
        to.values["local.workers"] = 1
    if workers and one:
        to.say(
            workers[0], "left out", "segmentation_stage.parallel was off: the menu tool used one"
        )
    elif workers:
        to.set(workers[0], "local.workers", workers[1])
