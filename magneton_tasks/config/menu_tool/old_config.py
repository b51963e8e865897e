"""A config file of the menu tool, read: its keys in order, each with the name that it is known by.

The names are those of the tool's public repository (kuan-lab/magneton): its templates
``instance_segmentation/configs/config.yaml`` and ``config_graph.yaml``, and the code of its overlap
pipeline, which reads some keys that the template doesn't have (``segmentation_stage.sv_type``) and
got others later (``block.roi``, ``mode``, the export of supervoxels). Keys of its graph pipeline
(non-overlapping cores) are recognised, but that is another method. No other name is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from magneton_tasks.config import config_file
from magneton_tasks.config.keys import split
from magneton_tasks.errors import ConfigError

#: Keys of the templates and of the code that reads them.
KNOWN = frozenset({
    "paths.input", "paths.output", "paths.output_local_base",
    "mask.flag", "mask.path",
    "checkpoint.segmentation_dir", "checkpoint.merge_dir",
    "block.size", "block.overlap", "block.roi",
    "mode.type",
    "segmentation_stage.parallel", "segmentation_stage.workers", "segmentation_stage.metadata_dir",
    "segmentation_stage.mip", "segmentation_stage.thresholds", "segmentation_stage.aff_thresholds",
    "segmentation_stage.supervoxel", "segmentation_stage.sv_type",
    "segmentation_stage.interior_threshold", "segmentation_stage.interior_thr",
    "segmentation_stage.min_distance", "segmentation_stage.method", "segmentation_stage.sv_2d",
    "segmentation_stage.merge_function",
    "merge_stage.metadata_dir", "merge_stage.mip", "merge_stage.workers",
    "merge_stage.min_overlap_vox", "merge_stage.min_frac_local", "merge_stage.min_frac_global",
    "merge_stage.max_voxel_size", "merge_stage.require_recip", "merge_stage.allow_union_amb",
    "merge_stage.dom_ratio", "merge_stage.min_iou",
    # the export of supervoxels
    "paths.supervox_output", "paths.supervox_agglomerate_npz",
    "segmentation_stage.emit_supervoxels", "merge_stage.aff_channel_order",
    "merge_stage.supervox_workers",
    # the graph pipeline, beside its sections
    "paths.fragments", "block.core", "block.halo",
    "checkpoint.fragments_dir", "checkpoint.relabel_dir",
})  # fmt: skip
#: Sections all of whose keys have one fate; see `old_keys`.
KNOWN_SECTIONS = (
    "hpc", "slurm", "export_tif", "mito", "bouton", "synapse",
    "fragments_stage", "edges_stage", "global_merge_stage", "relabel_stage", "segment_props_stage",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of the old file.

    Attributes
    ----------
    key
        As it stands there, dotted.
    name
        What it's known as (a key of `KNOWN`, a section of `KNOWN_SECTIONS`), or None.
    """

    key: str
    name: str | None
    value: Any


def read_old(path: Path) -> list[OldKey]:
    """The keys of a file in its order; of a key that stands twice, both.

    Raises
    ------
    NoInputError
        It can't be read.
    ConfigError
        No file in UTF-8, no YAML, or no mapping.
    """
    node = config_file.compose(config_file.read_text(path), str(path))
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} holds no keys", "give a config of the menu tool")
    return [OldKey(key, name_of(key), value) for key, value in _leaves(node, str(path), "")]


def _leaves(node: yaml.MappingNode, name: str, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.value:
        dotted = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _leaves(value, name, f"{dotted}.")
        else:
            yield dotted, config_file.construct(value, name)


def name_of(key: str) -> str | None:
    """What a dotted key is known as; None where it isn't."""
    if key in KNOWN:
        return key
    sections, _ = split(key)
    return next((s for s in KNOWN_SECTIONS if s in sections.split(".")), None)


def nearest(key: str) -> str:
    """The known key that looks most like one that isn't."""
    leaves = {split(k)[1]: k for k in sorted(KNOWN)}
    found = get_close_matches(split(key)[1], leaves, 1, 0.6)
    return leaves[found[0]] if found else "none"
