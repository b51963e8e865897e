"""What an output of Magneton's own says of its meshes and skeletons: where they were made, and what is dust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.owner import OWNER_FILE

_NM3_OF_UM3 = 1e9


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of the objects of a folder; None: nothing is said.

    Attributes
    ----------
    mip
        Whose labels they were made of.
    dust
        Objects of fewer voxels there have none.
    """

    mip: int | None = None
    dust: int | None = None


def said_of(objects: Objects, folder: str, section: str, mips: Sequence[VolumeInfo]) -> Said:
    """By the config that lies in the output, if the folder is ours.

    Parameters
    ----------
    section
        Of the config.

    Raises
    ------
    OutputError, TemporaryError
    """
    if objects.get(f"{folder}/{OWNER_FILE}") is None:
        return Said()
    try:
        config = (objects.get_json(OWNER_FILE) or {}).get("config")
    except BadDataError:
        return Said()
    told = config.get(section) if isinstance(config, Mapping) else None
    return _said(told, mips) if isinstance(told, Mapping) else Said()


def _said(told: Mapping[str, Any], mips: Sequence[VolumeInfo]) -> Said:
    mip, dust_um3 = told.get("mip"), told.get("dust_um3")
    of_mip = next((m for m in mips if m.mip == mip), None)
    if of_mip is None or not isinstance(dust_um3, int | float):
        return Said()
    least = dust_um3 * _NM3_OF_UM3 / prod(of_mip.voxel_size_nm)
    return Said(of_mip.mip, ceil(least * (1 - 1e-9)))
