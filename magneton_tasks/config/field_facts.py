"""What a key says of itself beside its type, meaning and default: what it decides, who sets and reads it.

The facts stand in the annotation of the key's field, or of its section's::

    min_distance: Annotated[
        PositiveInt,
        Decides("segment", "segment.min_distance"),
        InForm("Segmentation"),
        OnlyFor("method", ("overlap",)),
        OnlyFor("segment.supervoxels", ("3d", "2d")),
    ] = Field(3, title=..., description=...)

`deciding`, `from_form` and `unread` collect them from the whole config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeVar

from pydantic import BaseModel

from magneton_tasks.base.methods import Choice
from magneton_tasks.config import keys

#: Headings of the form, from top to bottom; the first stands open.
Heading = Literal[
    "This run", "Paths", "Blocks", "Segmentation", "Pooling", "Output", "Meshes", "Skeletons"
]
OPEN: Final[Heading] = "This run"
#: Of a key of the first release: it is hashed, whatever it stands at.
ALWAYS: Final = object()
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Decides:
    """How a key decides results.

    Attributes
    ----------
    choice
        The first stages whose results it decides; those that follow depend on them.
    id
        What it is called in what is hashed, for ever; its first part is one of `deciding.GROUPS`.
        None: it is hashed as what it leads to (see `make_fingerprints`).
    before
        What stood for it before the key existed, as JSON holds it.
    """

    choice: Choice
    id: str | None = None
    before: object = ALWAYS


@dataclass(frozen=True, slots=True)
class DecidesNothing:
    """A key or section that decides no result; content is the business of digests."""


NOTHING: Final = DecidesNothing()


@dataclass(frozen=True, slots=True)
class InForm:
    """A key that a form may set: a number, a choice, or a path.

    Attributes
    ----------
    heading
        What it stands under. Keys under ``Paths`` are looked at by `roots.check_roots`.
    is_last
        Whether it stands after its heading's other keys, and not in the schema's order.
    """

    heading: Heading
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class OnlyFor:
    """A key or section that isn't read unless a choice has one of these values.

    Attributes
    ----------
    choice
        Dotted key of the choice, such as ``method``.
    values
        In the order in which a message names them.
    """

    choice: str
    values: tuple[str, ...]


@cache
def of(model: type[BaseModel], kind: type[F]) -> Mapping[str, tuple[F, ...]]:
    """The facts of one kind, by dotted key (sections too), in the schema's order."""
    both = {**keys.sections(model), **keys.fields(model)}
    found = {
        k: tuple(f for f in field.metadata if isinstance(f, kind)) for k, field in both.items()
    }
    return {key: facts for key, facts in found.items() if facts}
