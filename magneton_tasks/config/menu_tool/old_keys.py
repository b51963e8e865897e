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
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.base.units import human_bytes, parse_size
from magneton_tasks.config.menu_tool.old_config import OldKey, nearest
from magneton_tasks.config.menu_tool.old_translation import Translation
from magneton_tasks.errors import ConfigError

_NOTHING = "the menu tool read it and did nothing with it"
_RECORDS = "records of what is done lie in paths.work"
_CLUSTER = (
    "not converted: runs go to this machine; for a cluster, set the sections runner and slurm"
)
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
    "of the menu tool's graph pipeline, another method: only its overlap pipeline is converted",
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
    "resolution": "read from the volume's metadata",
}  # fmt: skip


def translate(old: Sequence[OldKey]) -> Translation:
    """Everything but the block size, for which the machine counts (see `cli.config.importing`)."""
    to = Translation(old)
    _paths(to)
    _input(to)
    _mask(to)
    _block(to)
    _segment(to)
    _seeds(to)
    _pool(to)
    _apply(to)
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
    if isinstance(value, int) and not isinstance(value, bool):
        return [value] * 3
    if isinstance(value, list) and len(value) == 3 and all(type(v) is int for v in value):
        return list(value)
    return None


# ------------------------------------------------------------------ segmentation
def _segment(to: Translation) -> None:
    to.add("method", "overlap", "waterz on blocks that overlap: what the menu tool did")
    if found := to.take("segmentation_stage.thresholds"):
        n, value = found
        listed = value if isinstance(value, list) else [value]
        if listed and isinstance(listed[0], int | float) and 0 <= listed[0] <= 1:
            why = f"its threshold t is 1 - t here: {listed[0]} becomes {_complement(listed[0])}"
            if len(listed) > 1:
                why += "; of several thresholds the menu tool used the first"
            to.set(n, "segment.threshold", _complement(listed[0]), why)
        else:
            to.say(n, "left out", "must be a number from 0 to 1")
    else:
        to.add(
            "segment.threshold", 0.6, "the menu tool's default was 0.4, and t there is 1 - t here"
        )
    if found := to.take("segmentation_stage.merge_function"):
        n, value = found
        try:
            name = parse_scoring(str(value)).canonical
        except ConfigError as error:
            to.say(n, "left out", f"{error.what}; {error.hint}; the default is taken, aff50_his256")
        else:
            to.set(n, "segment.merge_function", name, "" if name == value else "its short name")


def _complement(threshold: float) -> float:
    return round(1 - threshold, 9)


def _seeds(to: Translation) -> None:
    kind = to.take("segmentation_stage.sv_type", "segmentation_stage.supervoxel")
    supervoxels = "3d"
    if kind and kind[1] in ("3d", "2d"):
        supervoxels = kind[1]
        ignored = to.old[kind[0]].name == "segmentation_stage.supervoxel" and supervoxels != "3d"
        to.set(
            kind[0],
            "segment.supervoxels",
            supervoxels,
            "the menu tool read the key sv_type instead of this one, so it made 3d ones; set 3d to get what it made"
            if ignored
            else "",
        )
    else:
        if kind:
            to.say(kind[0], "left out", "must be 3d or 2d")
        to.add("segment.supervoxels", "3d", "what the menu tool made by default")
    interior = to.take("segmentation_stage.interior_thr", "segmentation_stage.interior_threshold")
    distance = to.take("segmentation_stage.min_distance")
    if supervoxels == "3d":
        if interior:
            ignored = (
                to.old[interior[0]].name == "segmentation_stage.interior_threshold"
                and interior[1] != 0.1
            )
            to.set(
                interior[0],
                "segment.interior_threshold",
                interior[1],
                "the menu tool read the key interior_thr instead of this one, so it took 0.1"
                if ignored
                else "",
            )
        if distance:
            to.set(distance[0], "segment.min_distance", distance[1])
    else:
        for found in (interior, distance):
            if found:
                to.say(found[0], "left out", "the menu tool's 2d supervoxels didn't read it")
        to.add("segment.interior_threshold", 0.5, "fixed for the menu tool's 2d supervoxels")
    for name in ("segmentation_stage.aff_thresholds", "aff_threshold_low", "aff_threshold_high"):
        if found := to.take(name):
            to.say(
                found[0],
                "left out",
                "did nothing: waterz reads it in its own watershed only, and the "
                "menu tool gave it supervoxels; here, too, segment.supervoxels: waterz reads it",
            )
    if found := to.take("segmentation_stage.sv_2d", "segmentation_stage.method"):
        same = found[1] == "maxima_distance"
        to.say(
            found[0],
            "left out",
            "seeds come from the distance transform here, too"
            if same
            else "only seeds from the distance transform (maxima_distance) are made here",
        )


# ------------------------------------------------------------------ merging
def _pool(to: Translation) -> None:
    rule = _rule(to)
    fractions = [
        found
        for name in ("merge_stage.min_frac_local", "merge_stage.min_frac_global", "min_frac")
        if (found := to.take(name)) and isinstance(found[1], int | float)
    ]
    if rule == "iou":
        for n, _ in fractions:
            to.say(n, "left out", "pool.rule: iou doesn't read it")
    elif fractions:
        value = max(v for _, v in fractions)
        differ = len({v for _, v in fractions}) > 1
        for n, _ in fractions:
            to.set(
                n,
                "pool.min_frac",
                value,
                "one value for both sides: the stricter of the two" if differ else "",
            )
    else:
        to.add("pool.min_frac", 0.7, "the menu tool's default")
    if found := to.take("merge_stage.min_overlap_vox"):
        if rule == "mutual":
            to.set(found[0], "pool.min_overlap_vox", found[1])
        else:
            to.say(
                found[0], "left out", f"pool.rule: {rule} doesn't read a least overlap; mutual does"
            )


def _rule(to: Translation) -> str:
    why = "what the menu tool did: joined where most of either label lay in the other"
    given, ambiguous = to.take("rule"), to.take("merge_stage.allow_union_amb")
    if given and given[1] in ("mutual", "both", "iou", "any"):
        to.set(given[0], "pool.rule", given[1])
        if ambiguous:
            to.say(ambiguous[0], "left out", f"{to.old[given[0]].key} says the rule")
        return str(given[1])
    if given:
        to.say(given[0], "left out", "must be mutual, both, iou or any")
    if ambiguous and not ambiguous[1]:
        to.set(ambiguous[0], "pool.rule", "mutual", "nearest to its one partner for each label")
        return "mutual"
    if ambiguous:
        to.set(ambiguous[0], "pool.rule", "any", why)
    else:
        to.add("pool.rule", "any", why)
    to.warnings.append(
        "pool.rule: any joins as the menu tool did, and chains false merges; mutual (the default of "
        "a new config) is recommended"
    )
    return "any"


# ------------------------------------------------------------------ output and machine
def _apply(to: Translation) -> None:
    if found := to.take("chunk_size"):
        numbers = _three(found[1])
        if numbers is None:
            to.say(found[0], "left out", "must be three whole numbers")
        else:
            to.set(found[0], "apply.chunk_size", numbers, "read as [z, y, x]: please check")
    if found := to.take("encoding"):
        if found[1] in ("compressed_segmentation", "raw", "crackle"):
            to.set(found[0], "apply.encoding", found[1])
        else:
            to.say(found[0], "left out", "must be compressed_segmentation, raw or crackle")
    if found := to.take("mips"):
        to.set(found[0], "apply.mips", found[1])


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
    if found := to.take("memory"):
        try:
            to.set(found[0], "local.memory", human_bytes(parse_size(found[1])), "of one worker")
        except ValueError as error:
            to.say(found[0], "left out", str(error))
