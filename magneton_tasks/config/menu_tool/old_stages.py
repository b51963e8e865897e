"""What becomes of the menu tool's sections ``segmentation_stage`` and ``merge_stage``."""

from __future__ import annotations

from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.config.menu_tool.old_translation import Translation
from magneton_tasks.errors import ConfigError


# ------------------------------------------------------------------ segmentation
def segment(to: Translation) -> None:
    """Method, threshold, scoring function."""
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


def seeds(to: Translation) -> None:
    """What supervoxels are made of."""
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
    if found := to.take("segmentation_stage.aff_thresholds"):
        to.say(
            found[0],
            "left out",
            "did nothing: waterz reads it in its own watershed only, and the menu tool gave it "
            "supervoxels; here, too, segment.supervoxels: waterz reads it",
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
def pool(to: Translation) -> None:
    """The matching rule and its numbers."""
    rule = _rule(to)
    fractions = [
        found
        for name in ("merge_stage.min_frac_local", "merge_stage.min_frac_global")
        if (found := to.take(name)) and isinstance(found[1], int | float)
    ]
    if fractions:
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
    ambiguous = to.take("merge_stage.allow_union_amb")
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
