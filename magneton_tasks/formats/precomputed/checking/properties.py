"""Segment properties, by Neuroglancer's rules: whoever breaks one sees no segments at all, or wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from magneton_tasks.base.location import parse_json
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking.files import content
from magneton_tasks.formats.precomputed.checking.report import Part

#: Kinds of properties; how many of a kind there may be.
_KINDS = {"label": 1, "description": 1, "tags": 1, "string": None, "number": None}
#: Types of numbers, and the integers that each holds; Neuroglancer refuses those of 64 bits.
_NUMBERS = {
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32)},
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32)},
    "float32": None,
}
#: The index of a tag becomes a UTF-16 code.
_MOST_TAGS = 1 << 16
_BREAKS = "a rule of the format is broken"


def check_properties(part: Part, objects: Objects, folder: str) -> None:
    """Tell what is wrong with the segment properties of a folder.

    Raises
    ------
    OutputError, TemporaryError
        They can't be read.
    """
    name = f"{folder}/info"
    try:
        data = content(objects, name)
        if data is None:
            part.wrong("the info names what isn't there", objects.location.name_of(name))
            return
        given = parse_json(data, objects.location.name_of(name))
    except BadDataError as error:
        part.wrong("can't be read", error.what)
        return
    inline = given.get("inline")
    if given.get("@type") != "neuroglancer_segment_properties" or not isinstance(inline, dict):
        part.wrong(_BREAKS, "it isn't a neuroglancer_segment_properties with `inline`")
        return
    ids = inline.get("ids")
    properties = inline.get("properties", [])
    if not isinstance(ids, list) or not isinstance(properties, list):
        part.wrong(_BREAKS, "`ids` and `properties` aren't lists")
        return
    part.figures["segments"], part.figures["properties"] = len(ids), len(properties)
    for problem in (*_of_ids(ids), *_of_all(properties)):
        part.wrong(_BREAKS, problem)
    for one in properties:
        for problem in _of_one(one, len(ids)) if isinstance(one, dict) else ["no object"]:
            part.wrong(
                _BREAKS, f"property {one.get('id') if isinstance(one, dict) else one!r}: {problem}"
            )


def _of_ids(ids: Sequence[Any]) -> Iterator[str]:
    odd = [i for i in ids if not (isinstance(i, str) and i.isascii() and i.isdecimal())]
    if odd:
        yield f"{len(odd)} ids aren't decimal digits in quotes, such as {odd[0]!r}"
        return
    numbers = [int(i) for i in ids]
    if any(n >> 64 for n in numbers):
        yield f"the id {max(numbers)} has more than 64 bits"
    if any(a >= b for a, b in pairwise(numbers)):
        yield "ids don't ascend as numbers, or one stands twice"


def _of_all(properties: Sequence[Any]) -> Iterator[str]:
    told = [p for p in properties if isinstance(p, dict)]
    for kind, count in Counter(str(p.get("type")) for p in told).items():
        most = _KINDS.get(kind, 0)
        if most == 0:
            yield f"type {kind!r} isn't known"
        elif most is not None and count > most:
            yield f"{count} properties of type {kind}: there may be one"
    names = Counter(p.get("id") for p in told if p.get("type") in ("string", "number"))
    for name, count in names.items():
        if count > 1 or not isinstance(name, str) or not name:
            yield f"{count} properties are called {name!r}"


def _of_one(one: Mapping[str, Any], ids: int) -> Iterator[str]:
    values = one.get("values")
    if not isinstance(values, list) or len(values) != ids:
        yield f"{len(values) if isinstance(values, list) else 'no'} values for {ids} ids"
    elif one.get("type") == "tags":
        yield from _of_tags(one, values)
    elif one.get("type") == "number":
        yield from _of_numbers(one, values)
    elif not all(isinstance(v, str) for v in values):
        yield "values that are no strings"


def _of_numbers(one: Mapping[str, Any], values: Sequence[Any]) -> Iterator[str]:
    kind = one.get("data_type")
    if kind not in _NUMBERS:
        yield f"data_type {kind!r}: Neuroglancer takes {', '.join(_NUMBERS)}"
        return
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        yield "values that are no numbers"
    elif (bounds := _NUMBERS[kind]) and not all(
        isinstance(v, int) and bounds[0] <= v <= bounds[1] for v in values
    ):
        yield f"values that {kind} doesn't hold"


def _of_tags(one: Mapping[str, Any], values: Sequence[Any]) -> Iterator[str]:
    tags = one.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        yield "`tags` isn't a list of strings"
        return
    if len(tags) >= _MOST_TAGS:
        yield f"{len(tags)} tags: there may be fewer than {_MOST_TAGS}"
    if len({*tags}) < len(tags) or any(" " in tag or "#" in tag or not tag for tag in tags):
        yield "tags that are empty, stand twice, or hold a space or #"
    told = one.get("tag_descriptions", tags)
    if not isinstance(told, list) or len(told) != len(tags):
        yield "tag_descriptions has another length than tags"
    if not all(_are_indices(v, len(tags)) for v in values):
        yield "values that aren't rising indices of tags"


def _are_indices(value: Any, tags: int) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(v, int) and 0 <= v < tags for v in value)
        and all(a < b for a, b in pairwise(value))
    )
