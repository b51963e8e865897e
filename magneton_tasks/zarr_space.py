"""How a Zarr array lies in space: axes, voxel size and voxel offset, from its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isfinite
from typing import Any

from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.geometry import Vec3, vec3

#: nm in one unit, by the names of OME-Zarr (UDUNITS-2) and the usual short ones.
UNITS_NM = {
    "picometer": 1e-3, "pm": 1e-3, "angstrom": 0.1, "Å": 0.1, "nanometer": 1.0, "nm": 1.0,
    "nanometers": 1.0, "micrometer": 1e3, "micrometers": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3,
    "μm": 1e3, "millimeter": 1e6, "mm": 1e6, "centimeter": 1e7, "cm": 1e7, "meter": 1e9, "m": 1e9,
}  # fmt: skip
#: How far a translation may be from whole voxels before it's said, in voxels.
_WHOLE = 1e-3


@dataclass(frozen=True)
class Space:
    """How an array's axes lie in space."""

    axes: str
    size_nm: tuple[float, float, float]
    offset: Vec3
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ZarrArray:
    """An array's own metadata, of either Zarr version; vectors have one entry an axis."""

    version: int
    dtype: str
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    file: tuple[int, ...]
    encoding: str
    key: tuple[str, str]
    names: list[str] | None
    attributes: dict[str, Any]


def ome_space(multiscale: dict[str, Any], mip: int, array: ZarrArray, where: str) -> Space:
    notes: list[str] = []
    try:
        axes, units = _ome_axes(multiscale.get("axes"), array)
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
        if axis in "zyx" and unit is not None and unit not in UNITS_NM:
            raise ConfigError(f"{where}: axis {axis} has the unit {unit!r}, which isn't a length's")
        nm[axis] = UNITS_NM.get(unit or "nm", 1.0)
    sizes = {a: s * nm[a] for a, s in zip(axes, scale, strict=True)}
    shifts = {a: s * nm[a] for a, s in zip(axes, shift, strict=True)}
    return _space(axes, [sizes.get(a, 1.0) for a in "zyx"], [shifts.get(a, 0.0) for a in "zyx"],
                  notes, where)  # fmt: skip


def _ome_axes(axes: Any, array: ZarrArray) -> tuple[str, list[str | None]]:
    if not axes:  # before OME-Zarr 0.3
        letters = _default_axes(array)
        return letters, [None] * len(letters)
    letters, units = "", []
    for axis in axes:
        entry = axis if isinstance(axis, dict) else {"name": axis}
        name = str(entry["name"]).lower()
        letters += "c" if entry.get("type") == "channel" else name[:1]
        units.append(entry.get("unit"))
    return letters, units


def attribute_space(array: ZarrArray) -> Space:
    """Voxel size and offset (nm) from a plain array's attributes."""
    attributes, notes = array.attributes, []
    names = attributes.get("axis_names") or array.names
    axes = "".join(str(n).strip("^").lower()[:1] for n in names) if names else _default_axes(array)
    sizes = attributes.get("voxel_size", attributes.get("resolution"))
    shifts = attributes.get("offset", [0.0, 0.0, 0.0])
    if sizes is None:
        notes.append("no voxel size in its metadata: 1 nm is assumed, and voxel offset 0")
        sizes, shifts = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    order = "".join(a for a in axes if a in "zyx")
    if len(order) != 3:
        return Space(axes, (1.0, 1.0, 1.0), (0, 0, 0), ())  # refused by whoever asked
    try:
        by_axis = dict(zip(order, [float(v) for v in sizes][-3:], strict=True))
        shift_of = dict(zip(order, [float(v) for v in shifts][-3:], strict=True))
    except (TypeError, ValueError) as error:
        raise BadDataError(f"voxel size {sizes} and offset {shifts} need 3 numbers each") from error
    units = attributes.get("units")
    nm = [1.0, 1.0, 1.0]
    if isinstance(units, list) and len(units) >= 3:
        nm = [UNITS_NM.get(str(u), 1.0) for u in units[-3:]]
    scaled = dict(zip(order, nm, strict=True))
    return _space(
        axes,
        [by_axis.get(a, 1.0) * scaled.get(a, 1.0) for a in "zyx"],
        [shift_of.get(a, 0.0) * scaled.get(a, 1.0) for a in "zyx"],
        notes,
        "its attributes",
    )


def _default_axes(array: ZarrArray) -> str:
    if array.names:
        return "".join(name.strip("^").lower()[:1] for name in array.names)
    return {3: "zyx", 4: "czyx", 5: "tczyx"}.get(len(array.shape), "?" * len(array.shape))


def _space(
    axes: str, sizes_nm: list[float], shifts_nm: list[float], notes: list[str], where: str
) -> Space:
    if not all(isfinite(s) and s > 0 for s in sizes_nm) or not all(map(isfinite, shifts_nm)):
        raise BadDataError(f"{where}: voxel size {sizes_nm} nm, translation {shifts_nm} nm")
    exact = [shift / size for shift, size in zip(shifts_nm, sizes_nm, strict=True)]
    offset = vec3(floor(value + 0.5) for value in exact)
    if any(abs(e - o) > _WHOLE for e, o in zip(exact, offset, strict=True)):
        notes = [*notes, f"translation of {exact} voxels (z, y, x) is rounded to {list(offset)}"]
    z, y, x = sizes_nm
    return Space(axes, (z, y, x), offset, tuple(notes))
