"""The picture beside a new config: one section, read in several ways, so that a person can judge.

Above the three channels as they're proposed to be read. Below, for the proposed way and for wrong
ones, what waterz makes of them, and where the channels contradict each other.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.methods import SegmentSettings
from magneton_tasks.base.units import several
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.info import Given
from magneton_tasks.kernels.overlap.segment import segment_block
from magneton_tasks.outcome.preview import overlay
from magneton_tasks.trials.propose import Convention, Proposal, times_as_much

Float32 = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

#: Voxels that are shown: sections (the middle one is drawn), and the edges of a section.
_DEPTH_VOX, _EDGE_VOX = 24, 160
#: In pixels: edge of a tile and the gap between two, the page's head, a row's title and caption,
#: and the height that the legend takes.
_TILE, _GAP, _HEAD, _TITLE, _CAPTION, _LEGEND = 320, 22, 78, 40, 72, 200
_NEAREST = Image.Resampling.NEAREST
_CANVAS, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (95, 95, 95)
_CHOSEN, _WRONG = (0, 128, 60), (220, 30, 30)
#: A loop is drawn as contradicting itself where exactly one of its edges is this much lower.
_LOUD = 0.5


@dataclass(frozen=True, slots=True)
class Way:
    """A column of the picture: a way to read the map, what to call it, and how its loops fare.

    Attributes
    ----------
    loops
        As `config new` says it in words: over all places that were looked at.
    """

    name: str
    convention: Convention
    loops: str


def ways_to_show(proposal: Proposal) -> list[Way]:
    """The proposed way, and the best one that differs in sign, in order, in inversion."""
    best = proposal.best.convention
    ways = [Way("Proposed: what the config says", best, "the least of all ways")]
    for name, has_order in (
        ("With the other offset_sign", True),
        ("With another order of channels", False),
    ):
        of_kind = (
            c for c in proposal.others if (c.convention.channels == best.channels) == has_order
        )
        if (found := next(of_kind, None)) is not None:
            loops = f"contradicts {times_as_much(found, proposal.best)}"
            ways.append(Way(name, found.convention, loops))
    inverted = replace(best, invert=not best.invert)
    return [*ways, Way("With the other invert", inverted, "loops do not tell: look at 2")]


def draw(url: str, mip: int, box: Box, proposal: Proposal, given: Given | None = None) -> bytes:
    """The picture as PNG.

    Parameters
    ----------
    url, mip, given
        As `formats.volume.open_volume`.
    box
        What is shown, as `shown_box` makes it; its middle section is drawn.

    Raises
    ------
    NoInputError, BadDataError, TemporaryError
        As `AffinityReader.read`.
    """
    ways = ways_to_show(proposal)
    reads = [_read(url, mip, box, way.convention, given) for way in ways]
    page = _Page.of(box, len(ways))
    z = box.begin[0] + box.shape[0] // 2
    page.text((_GAP, 12), "How is this affinity map to be read?", 24)
    page.text((_GAP, 46), f"{_short(url)}, mip {mip}, section z = {z}", 15, _FAINT)
    page.title(0, "1  The three channels, read in the proposed way")
    for column, axis in enumerate("zyx"):
        number = ways[0].convention.channels[column]
        lines = (f"{axis} is stored channel {number}", f"dark: a border across {axis}")
        page.tile(0, column, _grey(_middle(reads[0][column])), lines)
    page.title(1, "2  What it makes of the cells (waterz, mean affinity, threshold 0.7)")
    page.title(
        2, "3  Where the channels contradict each other: red (in all places together: below)"
    )
    for column, (way, affinity) in enumerate(zip(ways, reads, strict=True)):
        _column(page, column, way, affinity, proposal.stored)
    _legend(page, proposal)
    buffer = io.BytesIO()
    page.canvas.save(buffer, "PNG")
    return buffer.getvalue()


def _column(page: _Page, column: int, way: Way, affinity: Float32, stored: int) -> None:
    settings = SegmentSettings(0.7, "mean", aff_thresholds=(0.05, 0.99))
    labels, count = segment_block(affinity.copy(), settings)
    grey = _grey(_middle(affinity.mean(axis=0)))
    objects = overlay(grey, _middle(labels).astype(np.uint64))
    loud = contradictions(affinity)
    said = (
        way.name,
        _said(way.convention, stored),
        f"{several(count, 'object')} in {several(len(labels), 'section')}",
    )
    page.tile(1, column, objects, said, chosen=column == 0)
    grey[_middle(loud)] = _WRONG
    page.tile(2, column, grey, (way.loops,), chosen=column == 0)


def _legend(page: _Page, proposal: Proposal) -> None:
    """What to look for, beside the three channels."""
    lines = [
        "1: cells are bright, membranes are dark.",
        "2: the right way gives each cell one colour,",
        "    up to its membrane. Wrong ones spill over",
        "    or fall to pieces.",
        "3: a square of four voxels can't have exactly",
        "    one border. In the right way it hardly ever",
        "    seems to.",
        "",
        f"scale: {_scale_text(proposal.best.convention)}",
        "order and sign: " + ("clear" if proposal.decided else "NOT CLEAR"),
        "inversion: " + ("clear" if proposal.inversion_decided else "NOT CLEAR"),
    ]
    left, top = 3 * (_TILE + _GAP) + _GAP, page.top(0)
    page.text((left, top - 26), "What to look for", 17)
    for n, line in enumerate(lines):
        page.text((left, top + n * 18), line, 14, _WRONG if "NOT CLEAR" in line else _INK)


@dataclass(frozen=True, slots=True)
class _Page:
    """The canvas, and where its rows and columns lie."""

    canvas: Image.Image
    pen: ImageDraw.ImageDraw
    #: pixels of a tile, (height, width)
    tile_px: tuple[int, int]

    @classmethod
    def of(cls, box: Box, columns: int) -> _Page:
        _, y, x = box.shape
        scale = _TILE / max(y, x)
        tile = max(round(y * scale), 1), max(round(x * scale), 1)
        size = (
            columns * (_TILE + _GAP) + _GAP,
            _HEAD + 3 * (_TITLE + max(tile[0], _LEGEND) + _CAPTION),
        )
        canvas = Image.new("RGB", size, _CANVAS)
        return cls(canvas, ImageDraw.Draw(canvas), tile)

    def top(self, row: int) -> int:
        return _HEAD + _TITLE + row * (_TITLE + max(self.tile_px[0], _LEGEND) + _CAPTION)

    def text(self, at: tuple[int, int], text: str, size: int, colour: Colour = _INK) -> None:
        self.pen.text(at, text, fill=colour, font=ImageFont.load_default(size))

    def title(self, row: int, text: str) -> None:
        self.text((_GAP, self.top(row) - 28), text, 17)

    def tile(
        self, row: int, column: int, tile: Rgb, lines: Sequence[str], chosen: bool = False
    ) -> None:
        """A section enlarged, in a frame, and what is said below it."""
        height, width = self.tile_px
        left, top = _GAP + column * (_TILE + _GAP), self.top(row)
        self.canvas.paste(Image.fromarray(tile).resize((width, height), _NEAREST), (left, top))
        for grown in range(1, 6 if chosen else 2):
            edges = (left - grown, top - grown, left + width - 1 + grown, top + height - 1 + grown)
            self.pen.rectangle(edges, outline=_CHOSEN if chosen else _FAINT)
        for n, line in enumerate(lines):
            colour = _FAINT if n else _CHOSEN if chosen else _INK
            self.text((left, top + height + 9 + n * 19), line, 14 if n else 15, colour)


def contradictions(affinity: Float32) -> npt.NDArray[np.bool_]:
    """Voxels at which a loop is cut once: (z, y, x), from affinities as Magneton reads them."""
    found = np.zeros(affinity.shape[1:], np.bool_)
    for d, k in ((0, 1), (0, 2), (1, 2)):
        edges = np.sort(
            np.stack(
                [
                    affinity[d],
                    _before(affinity[d], k),
                    affinity[k],
                    _before(affinity[k], d),
                ]
            ),
            axis=0,
        )
        loud = edges[1] - edges[0] > _LOUD
        # index 0 along an axis holds no edge, and its neighbour's loop no partner
        for axis in (d, k):
            loud[(slice(None),) * axis + (slice(0, 2),)] = False
        found |= loud
    return found


def _before(values: Float32, axis: int) -> Float32:
    return np.roll(values, 1, axis=axis)


def _read(url: str, mip: int, box: Box, convention: Convention, given: Given | None) -> Float32:
    reader = AffinityReader(
        url,
        mip,
        list(convention.channels),
        convention.offset_sign,
        convention.invert,
        convention.scale,
        given,
    )
    return np.clip(np.nan_to_num(reader.read(box)), 0, 1)


def shown_box(whole: Box, near: Box) -> Box:
    """A box of a volume for the picture, around the middle of ``near``."""
    size = vec3(
        min(n, s) for n, s in zip((_DEPTH_VOX, _EDGE_VOX, _EDGE_VOX), whole.shape, strict=True)
    )
    begin = []
    for a in range(3):
        middle = (near.begin[a] + near.end[a]) // 2 - size[a] // 2
        begin.append(min(max(middle, whole.begin[a]), whole.end[a] - size[a]))
    return Box.of_shape(size, vec3(begin))


def _said(convention: Convention, stored: int) -> str:
    channels = convention.channels_setting(stored)
    return f"channels {channels}, offset_sign {convention.offset_sign}, invert {str(convention.invert).lower()}"


def _scale_text(convention: Convention) -> str:
    return (
        "that of the data type"
        if convention.scale is None
        else f"{convention.scale:g} stands for 1"
    )


def _short(url: str, longest: int = 100) -> str:
    return url if len(url) <= longest else "..." + url[-longest:]


def _middle(volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(volume[volume.shape[0] // 2])


def _grey(section: Float32) -> Rgb:
    return np.repeat((section * 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)
