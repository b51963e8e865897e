"""What a person says of the affinity map where its metadata doesn't, or says something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from magneton_tasks.base.geometry import Box, Size3, vec3
from magneton_tasks.config.model import RunConfig
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.info import Given, VolumeInfo

#: Channels that an affinity map has: at least, and fewer than.
_FEWEST, _MANY = 3, 17
_UNKNOWN = "no voxel size in its metadata: 1 nm is assumed"
#: The note of a volume whose voxel size isn't known.
NO_VOXEL_SIZE = f"{_UNKNOWN}, and voxel offset 0"
#: What to do about it, where the volume is the affinity map of a config.
SET_IT = "set input.voxel_size_nm, [z, y, x], and input.voxel_offset"


def of_config(config: RunConfig) -> Given:
    """What a config says of its affinity map."""
    said = config.input
    return Given(said.axes, said.voxel_size_nm, said.voxel_offset)


def checked_size(
    size_nm: Size3, where: str, given: Given | None, shift_nm: Sequence[float] = (0, 0, 0)
) -> tuple[Size3, str | None]:
    """A voxel size of metadata, if it can be one; else that of the config, with a note.

    Parameters
    ----------
    where
        Whose metadata it is.
    shift_nm
        Where these say that the volume begins; told beside it.

    Raises
    ------
    BadDataError
        It isn't positive, and the config says none.
    """
    if all(isfinite(s) and s > 0 for s in size_nm) and all(map(isfinite, shift_nm)):
        return size_nm, None
    said = f"{where}: voxel size {list(size_nm)} nm, translation {list(shift_nm)} nm"
    if given is None or given.voxel_size_nm is None:
        hint = "correct it there" + (f", or {SET_IT} in the config" if given else "")
        raise BadDataError(said, hint)
    return given.voxel_size_nm, f"{said}: that can't be, and input.voxel_size_nm is taken"


def is_size_known(info: VolumeInfo) -> bool:
    """Whether somebody said how large the voxels are: the metadata, or the config."""
    return not any(note.startswith(_UNKNOWN) for note in info.notes)


def with_given(info: VolumeInfo, given: Given) -> VolumeInfo:
    """A volume as the config has it, with a note of each value that its metadata has otherwise.

    Its digest stays that of the metadata, so that a voxel size that is set later recomputes no
    block.
    """
    known = is_size_known(info)
    notes = [note for note in info.notes if note != NO_VOXEL_SIZE]
    size, offset = given.voxel_size_nm or info.voxel_size_nm, info.box.begin
    if known and size != info.voxel_size_nm:
        notes.append(_other("voxel_size_nm", list(info.voxel_size_nm), list(size)))
    if given.voxel_offset is not None:
        offset = given.voxel_offset
        if known and offset != info.box.begin:
            notes.append(_other("voxel_offset", list(info.box.begin), list(offset)))
    if not known and given.voxel_size_nm is None:
        where = NO_VOXEL_SIZE if given.voxel_offset is None else _UNKNOWN
        notes.append(f"{where}; {SET_IT} in the config if that is wrong")
    moved = vec3(o - b for o, b in zip(offset, info.box.begin, strict=True))
    return replace(
        info,
        voxel_size_nm=size,
        box=Box.of_shape(info.box.shape, offset),
        notes=tuple(notes),
        moved=moved,
    )


def _other(key: str, own: list[float], taken: list[float]) -> str:
    return f"its metadata says {own} (z, y, x); input.{key}, {taken}, is taken"


def likely_axes(info: VolumeInfo) -> str:
    """What the axes of an affinity map may be whose metadata names none, by its shape.

    Read as usual, a map of 128 x 128 x 128 voxels with the channels last has 128 channels of
    128 x 128 x 3 voxels.
    """
    last = info.box.shape[2]
    if info.axes_assumed and info.axes == "czyx" and _FEWEST <= last < min(info.channels, _MANY):
        return "zyxc"
    return info.axes
