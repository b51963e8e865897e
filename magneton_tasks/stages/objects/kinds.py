"""What is made of objects, and by whom: a section of the config, a folder of the output, a maker."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from magneton_tasks import __version__
from magneton_tasks.base.extras import MESHING, require_extra
from magneton_tasks.config.model import RunConfig
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding
from magneton_tasks.formats.precomputed.object_folders import Folder
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.object_grid import ObjectGrid
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import Section, facts
from magneton_tasks.stages.objects.maker import Maker, Space

FOLDERS: Mapping[Section, Folder] = {"mesh": "mesh", "skeleton": "skeletons"}
#: Of values in shards. Manifests of meshes: not every reader inflates them.
ENCODINGS: Mapping[Section, str] = {"mesh": "raw", "skeleton": "gzip"}
_UM3 = 1e9  # nm^3


def section_of(stage: str) -> Section:
    """Of a stage that works objects."""
    section = facts(stage).section
    assert section is not None
    return section


def grid_of(geometry: Geometry, section: Section) -> ObjectGrid:
    """How a section that the config has is worked."""
    made = geometry.objects(section)
    assert made is not None
    return made


def sharding_of(geometry: Geometry, section: Section) -> KeyedSharding:
    """Where objects lie in the output."""
    made = grid_of(geometry, section)
    return KeyedSharding(made.shard_bits, made.minishard_bits, data_encoding=ENCODINGS[section])


def maker_of(config: RunConfig, plan: Plan, section: Section) -> Maker:
    """The maker of a section; its libraries are imported only here.

    Raises
    ------
    ConfigError
        They aren't installed.
    """
    require_extra("mesh", MESHING, f"the section {section} of the config")
    geometry = plan.geometry
    mip = grid_of(geometry, section).mip
    space = Space(geometry.mip_box(mip), voxel_nm(plan, mip), geometry.largest_cell(mip))
    module = import_module(f"{__package__}.{section}_maker")
    return cast(Maker, module.make(config, space))


def mark(plan: Plan, section: Section) -> dict[str, str]:
    """What a folder of the output says of itself."""
    return {"magneton": __version__, "fingerprint": plan.fingerprints.of(section)}


def voxel_nm(plan: Plan, mip: int) -> tuple[float, float, float]:
    """Size of a voxel of a mip, (z, y, x)."""
    z, y, x = (
        v * f for v, f in zip(plan.volume.voxel_size_nm, plan.geometry.cumulative[mip], strict=True)
    )
    return z, y, x


def least_voxels(config: RunConfig, plan: Plan, section: Section) -> float:
    """Voxels of the mip that an object must have, or it is dust."""
    z, y, x = voxel_nm(plan, grid_of(plan.geometry, section).mip)
    dust_um3: float = getattr(config, section).dust_um3
    return dust_um3 * _UM3 / (z * y * x)
