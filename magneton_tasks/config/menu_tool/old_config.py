"""A config file of the menu tool, read: its keys in order, each under the name that is known here.

Where the names come from
-------------------------
**Known**: the public repository of the menu tool (kuan-lab/magneton): its template
``instance_segmentation/configs/config.yaml`` and the code of its overlap pipeline that reads it,
with ``block.roi`` and ``mode`` of later versions. Sections and keys of its later graph pipeline
(``config_graph.yaml``: non-overlapping cores) are recognised, but that is another method.

**Guessed**: everything in `ALIASES`: flat files, other spellings, the names of waterz's arguments.
No file with them has been seen; a name that fits is better taken and shown than left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from magneton_tasks.config import config_file
from magneton_tasks.errors import ConfigError

#: Keys of the template and of the code that reads it.
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
})  # fmt: skip
#: Sections all of whose keys have one fate; see `old_keys`.
KNOWN_SECTIONS = (
    "hpc", "slurm", "export_tif", "mito", "bouton", "synapse",
    "fragments_stage", "edges_stage", "global_merge_stage", "relabel_stage", "segment_props_stage",
)  # fmt: skip

#: The last part of a key -> what it's taken for, where the whole key isn't known. Guesses.
ALIASES = {
    "input": "paths.input", "input_path": "paths.input", "affinity": "paths.input",
    "affinity_path": "paths.input", "aff_path": "paths.input",
    "output": "paths.output", "output_path": "paths.output", "segmentation": "paths.output",
    "output_local_base": "paths.output_local_base", "work": "paths.output_local_base",
    "work_dir": "paths.output_local_base", "temp": "paths.output_local_base",
    "temp_dir": "paths.output_local_base", "tmp_dir": "paths.output_local_base",
    "mask_flag": "mask.flag", "mask_path": "mask.path",
    "block_size": "block.size", "size": "block.size",
    "overlap": "block.overlap", "block_overlap": "block.overlap", "halo": "block.overlap",
    "roi": "block.roi",
    "threshold": "segmentation_stage.thresholds", "thresholds": "segmentation_stage.thresholds",
    "seg_threshold": "segmentation_stage.thresholds",
    "seg_thresholds": "segmentation_stage.thresholds",
    "aff_threshold": "segmentation_stage.aff_thresholds",
    "aff_thresholds": "segmentation_stage.aff_thresholds",
    "aff_threshold_low": "aff_threshold_low", "aff_threshold_high": "aff_threshold_high",
    "merge_function": "segmentation_stage.merge_function",
    "scoring": "segmentation_stage.merge_function",
    "scoring_function": "segmentation_stage.merge_function",
    "supervoxel": "segmentation_stage.supervoxel", "supervoxels": "segmentation_stage.supervoxel",
    "sv_type": "segmentation_stage.sv_type", "sv_2d": "segmentation_stage.sv_2d",
    "interior_threshold": "segmentation_stage.interior_threshold",
    "interior_thr": "segmentation_stage.interior_thr",
    "min_distance": "segmentation_stage.min_distance",
    "mip": "segmentation_stage.mip", "input_mip": "segmentation_stage.mip",
    "parallel": "segmentation_stage.parallel", "workers": "segmentation_stage.workers",
    "num_workers": "segmentation_stage.workers", "n_workers": "segmentation_stage.workers",
    "metadata_dir": "segmentation_stage.metadata_dir",
    "segmentation_dir": "checkpoint.segmentation_dir", "merge_dir": "checkpoint.merge_dir",
    "min_overlap_vox": "merge_stage.min_overlap_vox", "min_overlap": "merge_stage.min_overlap_vox",
    "min_frac_local": "merge_stage.min_frac_local",
    "min_frac_global": "merge_stage.min_frac_global", "min_frac": "min_frac", "rule": "rule",
    "max_voxel_size": "merge_stage.max_voxel_size", "require_recip": "merge_stage.require_recip",
    "require_reciprocal": "merge_stage.require_recip",
    "allow_union_amb": "merge_stage.allow_union_amb",
    "allow_union_ambiguity": "merge_stage.allow_union_amb",
    "dom_ratio": "merge_stage.dom_ratio", "min_iou": "merge_stage.min_iou",
    "resolution": "resolution", "voxel_size": "resolution", "voxel_offset": "resolution",
    "chunk_size": "chunk_size", "encoding": "encoding", "mips": "mips", "num_mips": "mips",
    "memory": "memory",
    "scheduler": "hpc", "job_dir": "hpc", "partition": "hpc", "account": "hpc", "qos": "hpc",
    "time": "hpc", "mem": "hpc", "cpus": "hpc", "python_bin": "hpc", "extra_modules": "hpc",
    "conda": "hpc", "env": "hpc", "work_path": "hpc", "blocks_per_job": "hpc",
    "workers_per_job": "hpc", "hpc_num": "hpc",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key of the old file.

    Attributes
    ----------
    key
        As it stands there, dotted.
    name
        What it's known as (`KNOWN`, a section of `KNOWN_SECTIONS`, a value of `ALIASES`), or None.
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
    *sections, leaf = key.split(".")
    for section in KNOWN_SECTIONS:
        if section in sections:
            return section
    return ALIASES.get(leaf.lower())


def nearest(key: str) -> str:
    """The known key that looks most like one that isn't."""
    leaves = {k.rpartition(".")[2]: k for k in sorted(KNOWN)} | {k: k for k in sorted(ALIASES)}
    leaf = key.rpartition(".")[2]
    return next(iter(get_close_matches(leaf, leaves, 1, 0.6)), "none")
