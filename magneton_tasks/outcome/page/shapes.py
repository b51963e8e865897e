"""The objects in 3D as the page's template takes them: see `outcome.shapes`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magneton_tasks.outcome.shapes.packed import FINEST, head_of


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the list of objects; ``colour`` as CSS has it."""

    id: str
    colour: str
    size: str


@dataclass(frozen=True, slots=True)
class ShownShapes:
    """What the section shows.

    Attributes
    ----------
    packed
        For page/shapes.js, in base64.
    uri
        The still picture.
    note
        How finely they are drawn, and what isn't.
    each
        In the order of what is packed.
    """

    packed: str
    uri: str
    note: str
    each: tuple[Item, ...]


def shown(packed: bytes, png: bytes) -> ShownShapes | None:
    """What the section shows; None: the file is damaged, or of another release."""
    try:
        head = head_of(packed)
        each = tuple(_item(shape) for shape in head["shapes"])
        note = _note(head)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    uri = f"data:image/png;base64,{b64encode(png).decode()}"
    return ShownShapes(b64encode(packed).decode(), uri, note, each)


def _item(shape: Mapping[str, Any]) -> Item:
    colour = ", ".join(str(round(255 * c)) for c in shape["colour"])
    um3 = shape["um3"]
    size = f"{um3:,.0f}" if um3 >= 100 else f"{um3:.3g}"
    return Item(
        shape["id"], f"rgb({colour})", f"{shape['voxels']:,} voxels, {size}\N{NO-BREAK SPACE}µm³"
    )


def _note(head: Mapping[str, Any]) -> str:
    thinned = ", thinned" if head["steps"] < FINEST else ""
    level = f"Level of detail {head['lod'] + 1} of {head['lods']} of their meshes{thinned}"
    note = f"{level}. Colours are those of Neuroglancer."
    missing = head["without"]
    return f"{note} Without a mesh: {', '.join(missing)}." if missing else note
