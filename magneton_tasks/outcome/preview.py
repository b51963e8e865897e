"""The preview of a run: a few sections, affinity beside coloured labels, as one PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magneton_tasks.base import files
from magneton_tasks.base.geometry import Box
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import open_affinity
from magneton_tasks.work.stores import segmentation

#: Sections that are shown, and their largest edge in pixels.
SECTIONS = 3
EDGE_PX = 512


def write_preview(attempt: Attempt) -> None:
    """Write ``preview.png`` into the attempt's directory."""
    affinity, output = open_affinity(attempt.config), segmentation(attempt)
    rows = []
    for section in sections(attempt.plan.geometry.box):
        grey = affinity.read(section)[1:].mean(axis=0)[0] * 255
        labels = np.asarray(output.read(0, section))[0]
        grey3 = np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2)
        rows.append(np.concatenate((grey3, overlay(grey3, labels)), axis=1))
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(rows, axis=0)).save(buffer, "PNG")
    files.write_atomic(attempt.paths.preview, buffer.getvalue())


def sections(box: Box) -> Iterator[Box]:
    """What is shown of a volume, one plane each."""
    for k in range(1, SECTIONS + 1):
        z = box.begin[0] + k * box.shape[0] // (SECTIONS + 1)
        yield _central(Box((z, *box.begin[1:]), (z + 1, *box.end[1:])))


def _central(section: Box) -> Box:
    """The middle of a section, as far as it is shown."""
    begin, end = list(section.begin), list(section.end)
    for a in (1, 2):
        spare = max(end[a] - begin[a] - EDGE_PX, 0)
        begin[a] += spare // 2
        end[a] -= spare - spare // 2
    return Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))


def overlay(grey: NDArray[np.uint8], labels: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Labels in colours that depend on the id alone, over the affinities: uint8 (y, x, 3)."""
    mixed = labels * np.uint64(0x9E3779B97F4A7C15)
    channels = [(mixed >> np.uint64(s)) & np.uint64(0xFF) for s in (40, 48, 56)]
    colour = np.stack([c.astype(np.float32) for c in channels], axis=-1) * 0.7 + 70
    colour[labels == 0] = 0
    return np.asarray(np.clip(0.7 * colour + 0.3 * grey, 0, 255), np.uint8)
