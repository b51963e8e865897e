"""Draws the largest objects of an attempt's output into the attempt's directory."""

from __future__ import annotations

from magneton_tasks.base import files
from magneton_tasks.outcome.shapes import still
from magneton_tasks.outcome.shapes.of_output import largest_objects
from magneton_tasks.outcome.shapes.packed import pack
from magneton_tasks.work.attempt import Attempt

#: Of what is packed; in base64, and with the picture beside it, that is less than 2 MB of the page.
MOST_BYTES = 1_200_000


def write_shapes(attempt: Attempt) -> None:
    """Write ``objects-3d.bin`` and ``objects-3d.png``; nothing where no object has a mesh.

    Raises
    ------
    MagnetonError
        A mesh can't be read, or the files can't be written.
    """
    found = largest_objects(attempt)
    if found is None:
        return
    without = [str(i) for i in found.without]
    facts = {"lod": found.lod, "lods": found.lods, "without": without}
    data, drawn = pack(found.shapes, MOST_BYTES, facts)
    files.write_atomic(attempt.paths.shapes, data)
    files.write_atomic(attempt.paths.shapes_picture, still.draw(drawn))
