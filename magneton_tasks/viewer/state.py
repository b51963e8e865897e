"""Neuroglancer's state: layers, voxel size, position and layout, as the JSON that its URL holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.viewer.layers import Shown

State = dict[str, Any]
#: Where a layer's data are: an address, or one with a transform.
Source = str | State

_M_PER_NM = 1e-9
#: Stored value that stands for affinity 1, by dtype.
_SCALES = {"uint8": 255.0, "uint16": 65535.0}
#: Height and width in pixels of all panels together, about: a small volume is enlarged to fill its own.
_WINDOW_PX = (680, 1160)
#: Width of the list of objects, which stands beside meshes.
_LIST_PX = 300
#: Voxels along the height of a panel in 3D, in longest edges of the volume: turned, it is seen as a whole.
_AROUND, _AROUND_NARROW = 1.5, 2.0
#: Of a large volume no more than this is seen at first, in voxels: a map of one mip loads slowly.
_FIRST_SIGHT_VOX = 1024.0
#: From above and a little from the side, as a quaternion.
_ORIENTATION = [0.28, -0.2, -0.06, 0.94]

# toRaw gives an integer of integers, and GLSL converts nothing by itself: a shader that doesn't
# compile is replaced by a grey one, silently.
_COLOURS = """#uicontrol bool colours checkbox(default={colours})
#uicontrol float brightness slider(min=0.1, max=3, default=1)
float affinity(float stored) {{
  return {value};
}}
void main() {{
  // colours: x in red, y in green, z in blue; else the lowest of the three, dark at borders
  vec3 a = vec3(affinity(float(toRaw(getDataValue({x})))),
                affinity(float(toRaw(getDataValue({y})))),
                affinity(float(toRaw(getDataValue({z})))));
  emitRGB(brightness * (colours ? a : vec3(min(a.x, min(a.y, a.z)))));
}}
"""
_ONE_COLOUR = """#uicontrol float brightness slider(min=0.1, max=3, default=1)
float affinity(float stored) {{
  return {value};
}}
void main() {{
  emitRGB(brightness * affinity(float(toRaw(getDataValue()))) * vec3({colour}));
}}
"""


def make_state(
    shown: Sequence[Shown],
    base_url: str,
    position_vox: Sequence[float],
    voxel_size_nm: Size3,
    side_by_side: bool = False,
    shape_vox: Vec3 | None = None,
) -> State:
    """The state that draws these layers.

    Parameters
    ----------
    shown
        From `layers.resolve`; the n-th one's files are at ``<base_url>data/<n>/``.
    base_url
        Absolute, with a slash at its end.
    position_vox, voxel_size_nm
        Where to begin, (z, y, x), in voxels of this size; also the voxels that are counted.
    side_by_side
        A panel for each segmentation, all moving together; else one view of all layers.
    shape_vox
        Extent of what is to be seen, (z, y, x); None: one voxel a pixel.
    """
    # Below coloured objects a map in colours would be hard to read.
    colours = all(one.layer.kind == "affinity" for one in shown)
    layers = [
        layer
        for n, one in enumerate(shown)
        for layer in _layers(one, f"{base_url}data/{n}/", colours)
    ]
    solid = any(one.layer.solid for one in shown)
    state: State = {
        "dimensions": {
            axis: [size * _M_PER_NM, "m"]
            for axis, size in zip("xyz", reversed(voxel_size_nm), strict=True)
        },
        "position": [float(v) for v in reversed(position_vox)],
        **_zoom(shape_vox, voxel_size_nm, *_panels(layers, side_by_side, solid), solid),
        "projectionOrientation": _ORIENTATION,
        "crossSectionBackgroundColor": "#000000",
        "hideCrossSectionBackground3D": True,
        "layers": layers,
        "layout": _layout(layers, side_by_side, solid),
    }
    if solid:
        state["showSlices"] = False  # in 3D they would hide what lies behind
    for name in _names(layers, "segmentation")[:1]:
        state["selectedLayer"] = {"layer": name, "visible": solid}
    return state


def _zoom(
    shape_vox: Vec3 | None, voxel_size_nm: Size3, rows: int, columns: int, solid: bool
) -> State:
    """Scales of sections (voxels a pixel) and of the view in 3D (voxels a panel).

    Neuroglancer counts both in voxels of the finest axis. Of meshes the whole volume is seen, because
    they have levels of detail; of sections in 3D a part.
    """
    if shape_vox is None:
        return {"crossSectionScale": 1.0, "projectionScale": _FIRST_SIGHT_VOX}
    finest_nm = min(voxel_size_nm)
    z, y, x = (n * size / finest_nm for n, size in zip(shape_vox, voxel_size_nm, strict=True))
    height, width = _WINDOW_PX
    fitting = max(y * rows / height, x * columns / (width - _LIST_PX if solid else width))
    whole = max(z, y, x) * (_AROUND_NARROW if solid else _AROUND)
    return {
        "crossSectionScale": min(fitting, 1.0),
        "projectionScale": whole if solid else min(whole, _FIRST_SIGHT_VOX),
    }


def _names(layers: Sequence[State], kind: str) -> list[str]:
    return [layer["name"] for layer in layers if layer["type"] == kind]


def _panels(layers: Sequence[State], side_by_side: bool, solid: bool) -> tuple[int, int]:
    """Rows and columns of panels."""
    if _is_row(layers, side_by_side):
        return 1, len(_names(layers, "segmentation")) * (1 + solid)
    return (1, 2) if solid else (2, 2)


def _is_row(layers: Sequence[State], side_by_side: bool) -> bool:
    return side_by_side and len(_names(layers, "segmentation")) > 1


def _layout(layers: Sequence[State], side_by_side: bool, solid: bool) -> str | State:
    if not _is_row(layers, side_by_side):
        return "xy-3d" if solid else "4panel"
    images = _names(layers, "image")
    panels = [
        {"type": "viewer", "layers": [*images, name], "layout": "xy-3d" if solid else "xy"}
        for name in _names(layers, "segmentation")
    ]
    return {"type": "row", "children": panels}


def _layers(one: Shown, data_url: str, colours: bool) -> list[State]:
    source = _source(one, data_url)
    if one.layer.kind == "segmentation":
        return [_segmentation(one, source)]
    if one.joined:
        return [_image(one, source, colours)]
    return [_channel(one, source, axis) for axis in "xyz"]


def _segmentation(one: Shown, source: Source) -> State:
    layer = one.layer
    # the list of objects is sorted by size: by itself it would be by label, 1, 10, 100
    query = {"segmentQuery": ">voxels"} if layer.listed else {}
    return {
        "type": "segmentation",
        "name": layer.name,
        "source": source,
        "tab": "segments",
        **query,
        "segments": [str(i) for i in layer.selected],
        "selectedAlpha": 0.6,
        "notSelectedAlpha": 0.2 if layer.selected else 0,
        "visible": layer.visible,
    }


def _image(one: Shown, source: Source, colours: bool) -> State:
    z, y, x = one.layer.channels
    shader = _COLOURS.format(value=_affinity(one), x=x, y=y, z=z, colours=str(colours).lower())
    return {
        "type": "image",
        "name": one.layer.name,
        "source": source,
        "tab": "rendering",
        "opacity": 1,
        "shader": shader,
        "visible": one.layer.visible,
    }


def _channel(one: Shown, source: Source, axis: str) -> State:
    """One channel as a layer of its own, where no chunk holds all three."""
    colour = {"x": "1, 0, 0", "y": "0, 1, 0", "z": "0, 0, 1"}[axis]
    shader = _ONE_COLOUR.format(value=_affinity(one), colour=colour)
    return {
        "type": "image",
        "name": f"{one.layer.name} {axis}",
        "source": source,
        "tab": "rendering",
        "opacity": 1,
        "blend": "additive",
        "shader": shader,
        "localDimensions": {"c'": [1, ""]},
        "localPosition": [one.layer.channels["zyx".index(axis)]],
        "visible": one.layer.visible,
    }


def _affinity(one: Shown) -> str:
    """GLSL that makes an affinity of what is stored."""
    scale = one.layer.scale or _SCALES.get(one.info.dtype, 1.0)
    value = f"stored / {float(scale)!r}"
    return f"1.0 - {value}" if one.layer.invert else value


def _source(one: Shown, data_url: str) -> Source:
    at = data_url if one.remote is None else f"{one.remote}/"
    url = f"{one.info.format}://{at}{one.inner}"
    if one.info.format == "precomputed":
        return url.rstrip("/")
    return {"url": url, "transform": _transform(one)}


def _transform(one: Shown) -> State:
    """Name a Zarr array's axes, and put its first voxel where we count it.

    Neuroglancer knows nothing of voxel sizes and offsets in a plain array's attributes. In an
    OME-Zarr group, it takes the translation for the centre of the first voxel, and we for its
    corner, as the rest of the field does: half a voxel.
    """
    info = one.info
    size = dict(zip("zyx", info.voxel_size_nm, strict=True))
    offset = dict(zip("zyx", info.box.begin, strict=True))
    is_group = bool(info.array) and not one.inner
    names = {"c": "c^" if one.joined else "c'", "t": "t'"}
    units = [[size[axis] * _M_PER_NM, "m"] if axis in size else [1, ""] for axis in info.axes]
    shifts = [
        (0.5 if is_group else float(offset[axis])) if axis in size else 0.0 for axis in info.axes
    ]
    rank = len(info.axes)
    return {
        "inputDimensions": dict(zip(one.axes, units, strict=True)),
        "outputDimensions": {
            names.get(axis, axis): unit for axis, unit in zip(info.axes, units, strict=True)
        },
        "matrix": [
            [*(1.0 if i == j else 0.0 for j in range(rank)), shifts[i]] for i in range(rank)
        ],
    }
