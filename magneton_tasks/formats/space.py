"""How a stored array lies in space: axes, voxel size and voxel offset, from its attributes.

Zarr, N5 and HDF5 have arrays of any number of axes, with attributes that each tool writes in its own
way; what these mean is the same in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any
from unicodedata import normalize

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.given import NO_VOXEL_SIZE, checked_size
from magneton_tasks.formats.info import Given

#: nm in one unit, by its short name: these tell capitals apart.
_SHORT_NM = {
    "pm": 1e-3, "Å": 0.1, "nm": 1.0, "um": 1e3, "μm": 1e3, "mm": 1e6, "cm": 1e7, "dm": 1e8, "m": 1e9,
}  # fmt: skip
#: By its name of OME-Zarr (UDUNITS-2); also written -metre, with an s, and in capitals.
_NAMES_NM = {
    "picometer": 1e-3, "angstrom": 0.1, "nanometer": 1.0, "micrometer": 1e3, "micron": 1e3,
    "millimeter": 1e6, "centimeter": 1e7, "decimeter": 1e8, "meter": 1e9,
}  # fmt: skip
#: Names of axes that only number them.
_NUMBERED = re.compile(r"(d|dim|axis)_?\d+", re.IGNORECASE)
#: How far a translation may be from whole voxels before it's said, in voxels.
_WHOLE = 1e-3


@dataclass(frozen=True)
class Space:
    """How an array's axes lie in space."""

    axes: str
    size_nm: tuple[float, float, float]
    offset: Vec3
    notes: tuple[str, ...]
    axes_assumed: bool = False


@dataclass(frozen=True)
class StoredArray:
    """An array's own metadata; vectors have one entry an axis, the slowest first.

    Attributes
    ----------
    format
        As of `VolumeInfo`.
    version
        Of Zarr; what is hashed for the others.
    chunk, file
        What can be read by itself, and what lies in one file.
    key
        As of `VolumeInfo.chunk_key`.
    names
        Of the axes, where there are any.
    """

    format: str
    version: int | str
    dtype: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    file: tuple[int, ...]
    encoding: str
    key: tuple[str, str]
    names: list[str] | None
    attributes: dict[str, Any]


def ome_space(
    multiscale: dict[str, Any], mip: int, array: StoredArray, where: str, given: Given | None
) -> Space:
    """From an OME-Zarr group's multiscales."""
    notes: list[str] = []
    try:
        axes, units = _ome_axes(multiscale.get("axes"), array)
        axes = _given_axes(given, array) or axes
        scale, shift = [1.0] * len(axes), [0.0] * len(axes)
        steps = multiscale["datasets"][mip].get("coordinateTransformations", [])
        for step in [*steps, *multiscale.get("coordinateTransformations", [])]:
            if step["type"] == "scale":
                scale = [a * float(b) for a, b in zip(scale, step["scale"], strict=True)]
                shift = [a * float(b) for a, b in zip(shift, step["scale"], strict=True)]
            elif step["type"] == "translation":
                shift = [a + float(b) for a, b in zip(shift, step["translation"], strict=True)]
            elif step["type"] != "identity":
                raise ValueError(f"transformation {step['type']!r}")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadDataError(f"{where}: {type(error).__name__}: {error}") from error
    nm = {}
    for axis, unit in zip(axes, units, strict=True):
        if axis in "zyx" and unit is None:
            notes.append(f"axis {axis} has no unit; nm is assumed")
        nm[axis] = (
            1.0 if unit is None or axis not in "zyx" else unit_nm(unit, f"{where}: axis {axis}")
        )
    sizes = {a: s * nm[a] for a, s in zip(axes, scale, strict=True)}
    shifts = {a: s * nm[a] for a, s in zip(axes, shift, strict=True)}
    size_nm, shift_nm = [sizes.get(a, 1.0) for a in "zyx"], [shifts.get(a, 0.0) for a in "zyx"]
    return _space(axes, size_nm, shift_nm, notes, where, given)


def unit_nm(unit: Any, where: str) -> float:
    """Nm in one ``unit``.

    Raises
    ------
    ConfigError
        It isn't known.
    """
    short = normalize("NFKC", str(unit).strip())  # the micro sign is a Greek letter, too
    name = short.lower().removesuffix("s").replace("metre", "meter")
    found = _SHORT_NM.get(short) or _NAMES_NM.get(name)
    if found is None:
        raise ConfigError(
            f"{where} has the unit {unit!r}, which isn't a known unit of length",
            f"write one of {', '.join(_NAMES_NM)}, or nm, um, mm in the volume's metadata",
        )
    return found


def _ome_axes(axes: Any, array: StoredArray) -> tuple[str, list[str | None]]:
    if not axes:  # before OME-Zarr 0.3
        letters = _default_axes(array)
        return letters, [None] * len(letters)
    names, units = [], []
    for axis in axes:
        entry = axis if isinstance(axis, dict) else {"name": axis}
        kind, name = str(entry.get("type") or "space").lower(), str(entry["name"])
        is_channel = kind not in ("space", "time") and name.lower() not in ("z", "y", "x", "t")
        names.append("c" if kind == "channel" or is_channel else name)
        units.append(entry.get("unit") or None)
    return letters_of(names) or "?" * len(names), units


def letters_of(names: Sequence[str]) -> str | None:
    """One letter an axis, of ``zyxct``; None where the names say nothing.

    ``^`` at a name marks a channel. Numbered names (funlib's ``d0``, ``d1``, ``d2``, xarray's
    ``dim_0``) say nothing but the order; so the spatial ones are z, y, x. One axis of any other
    name beside z, y and x is the channels'.
    """
    letters = ["c" if "^" in name else name.strip().lower()[:1] for name in names]
    numbered = [i for i, name in enumerate(names) if "^" not in name and _NUMBERED.fullmatch(name)]
    if len(numbered) == 3:
        for i, letter in zip(numbered, "zyx", strict=True):
            letters[i] = letter
    elif len(numbered) == len(names):
        return None
    others = [i for i, letter in enumerate(letters) if letter not in "zyxct"]
    if len(others) == 1 and "c" not in letters:
        letters[others[0]] = "c"
    return "".join(letter or "?" for letter in letters)


def attribute_space(array: StoredArray, where: str, given: Given | None) -> Space:
    """Voxel size and offset (nm) from a plain array's attributes."""
    attributes, notes = array.attributes, list[str]()
    names = attributes.get("axis_names") or array.names
    named = letters_of([str(n) for n in names]) if names else None
    axes = _given_axes(given, array) or named or _default_axes(array)
    sizes = attributes.get("voxel_size", attributes.get("resolution"))
    shifts = attributes.get("offset", [0.0, 0.0, 0.0])
    if sizes is None:
        notes.append(NO_VOXEL_SIZE)
        sizes, shifts = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    if sorted(a for a in axes if a in "zyx") != ["x", "y", "z"]:
        return Space(axes, (1.0, 1.0, 1.0), (0, 0, 0), ())  # refused by `stored_info.volume_info`
    try:
        size_of = {a: float(v) for a, v in _by_axis(axes, sizes).items()}
        shift_of = {a: float(v) for a, v in _by_axis(axes, shifts).items()}
    except (TypeError, ValueError) as error:
        raise BadDataError(
            f"{where}: voxel size {sizes} and offset {shifts} need 3 numbers each"
        ) from error
    nm = _attribute_units(axes, attributes.get("units", attributes.get("unit")), notes, where)
    size_nm, shift_nm = ([of[a] * nm[a] for a in "zyx"] for of in (size_of, shift_of))
    found = _space(axes, size_nm, shift_nm, notes, where, given)
    assumed = named is None and (given is None or given.axes is None)
    return replace(found, axes_assumed=assumed)


def _given_axes(given: Given | None, array: StoredArray) -> str | None:
    """The axes that a person names, if there are as many as the array has.

    Raises
    ------
    ConfigError
    """
    if given is None or given.axes is None:
        return None
    if len(given.axes) != len(array.shape):
        raise ConfigError(
            f"input.axes is {given.axes}, and the stored array has {len(array.shape)} axes: {array.shape}",
            "give one letter for each, the slowest first: z, y, x, c (channels), t (of length 1)",
        )
    return given.axes


def _by_axis(axes: str, values: Any) -> dict[str, Any]:
    """Values of z, y and x: given for each axis, or for these three in the order of the array."""
    values = list(values)
    of = axes if len(values) == len(axes) else [a for a in axes if a in "zyx"]
    return {a: v for a, v in zip(of, values, strict=True) if a in "zyx"}


def _attribute_units(axes: str, units: Any, notes: list[str], where: str) -> dict[str, float]:
    """Nm in one unit of z, y and x; one text stands for all. None: funlib's habit, nm."""
    if units is None or units == []:
        return dict.fromkeys("zyx", 1.0)
    try:
        of = dict.fromkeys("zyx", units) if isinstance(units, str) else _by_axis(axes, units)
    except (TypeError, ValueError):
        raise BadDataError(f"{where}: units {units!r}: give one for each axis") from None
    notes += [f"axis {a} has no unit; nm is assumed" for a, unit in of.items() if not unit]
    return {a: unit_nm(u, f"{where}: axis {a}") if u else 1.0 for a, u in of.items()}


def _default_axes(array: StoredArray) -> str:
    named = letters_of(array.names) if array.names else None
    return named or {3: "zyx", 4: "czyx", 5: "tczyx"}.get(len(array.shape), "?" * len(array.shape))


def _space(
    axes: str,
    sizes_nm: list[float],
    shifts_nm: list[float],
    notes: list[str],
    where: str,
    given: Given | None,
) -> Space:
    z, y, x = sizes_nm
    size, note = checked_size((z, y, x), where, given, shifts_nm)
    if note is not None:
        return Space(axes, size, (0, 0, 0), (*notes, note))
    exact = [shift / size for shift, size in zip(shifts_nm, sizes_nm, strict=True)]
    offset = vec3(floor(value + 0.5) for value in exact)
    if any(abs(e - o) > _WHOLE for e, o in zip(exact, offset, strict=True)):
        notes = [*notes, f"translation of {exact} voxels (z, y, x) is rounded to {list(offset)}"]
    return Space(axes, size, offset, tuple(notes))
