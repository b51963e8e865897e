"""Meshes of Neuroglancer's first format: a list of fragments for each object, and the fragments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from magneton_tasks.base.location import parse_json
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking import files
from magneton_tasks.formats.precomputed.checking.census import Census
from magneton_tasks.formats.precomputed.checking.files import content
from magneton_tasks.formats.precomputed.checking.objects import Kind, files_by_id, picked

_DAMAGED = "damaged"


def ids_of_old_meshes(
    kind: Kind, objects: Objects, census: Census, sample: int | None, say: Callable[[str], None]
) -> list[int]:
    """Ids of the objects that have a list; what is wrong with lists and fragments is told.

    All names of the folder are held, because objects may share a fragment.

    Raises
    ------
    OutputError, TemporaryError
    """
    names = (
        {files.stem_of(n) for n, _ in files.entries(objects, kind.folder)}
        if files.can_list(objects)
        else None
    )
    found = sorted(files_by_id(objects, kind.folder, ":0", census))
    wanted = picked(len(found), sample)
    for at, (number, name, _) in enumerate(found):
        say(f"meshes: {at + 1:,} of {len(found):,} looked at")
        if at not in wanted:
            continue
        for problem in _problems_of(objects, f"{kind.folder}/{name}", kind.folder, names):
            kind.part.wrong(_DAMAGED, f"mesh {number}: {problem}")
    return [number for number, *_ in found]


def _problems_of(objects: Objects, path: str, folder: str, names: set[str] | None) -> Iterator[str]:
    try:
        listed = parse_json(content(objects, path) or b"", objects.location.name_of(path))
    except BadDataError as error:
        yield error.what
        return
    fragments = listed.get("fragments")
    if not isinstance(fragments, list) or not all(isinstance(f, str) for f in fragments):
        yield f"{objects.location.name_of(path)}: `fragments` isn't a list of names"
        return
    for fragment in fragments:
        name = f"{folder}/{fragment}"
        try:
            gone = names is not None and fragment not in names
            data = None if gone else content(objects, name)
            problem = "isn't there" if data is None else _problem_of_fragment(data)
        except BadDataError as error:
            problem = error.what
        if problem is not None:
            yield f"{objects.location.name_of(name)}: {problem}"


def _problem_of_fragment(data: bytes) -> str | None:
    """What is wrong with its bytes: a number of vertices, their places, and three of them a triangle."""
    if data[:5] == b"DRACO":  # cloud-volume's own variant
        return None
    if len(data) < 4:
        return f"{len(data)} bytes"
    vertices = int(np.frombuffer(data, "<u4", 1)[0])
    rest = len(data) - 4 - 12 * vertices
    if rest < 0 or rest % 12:
        return f"{len(data):,} bytes, which are no {vertices:,} vertices and whole triangles"
    corners = np.frombuffer(data, "<u4", rest // 4, 4 + 12 * vertices)
    if corners.size and int(corners.max()) >= vertices:
        return f"a triangle with vertex {int(corners.max()):,} of {vertices:,}"
    return None
