"""``magneton evaluate``: two volumes of any size, block by block."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from magneton_tasks.base.geometry import Box, Size3, vec3
from magneton_tasks.base.units import several
from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.formats.given import is_size_known
from magneton_tasks.formats.metadata import VolumeInfo, read_levels
from magneton_tasks.outcome import scores as kept

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from magneton_tasks.formats.volume import Volume

#: Edge of the boxes that are compared at a time, in voxels of the finer volume.
EDGE_VOX = 256
#: How far voxel sizes may differ and still be the same, as a share: half a voxel in 50,000.
_SAME_SIZE = 1e-5
#: Rounding of a centre's place, in voxels: one on a border belongs to the voxel after it.
_ROUNDING_VOX = 1e-6


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which voxel of the segmentation stands for each voxel of the truth: that at its centre.

    Attributes
    ----------
    segmentation, truth
        The extents in voxels, each of its own size.
    ratio
        Voxel size of the truth in voxels of the segmentation, (z, y, x); 1 compares voxel by voxel.
    """

    segmentation: Box
    truth: Box
    ratio: Size3

    @property
    def is_one_to_one(self) -> bool:
        """Whether voxels of one size are compared."""
        return all(r == 1 for r in self.ratio)

    def shared(self) -> Box:
        """What both volumes have, in voxels of the truth."""
        import numpy as np

        spans = []
        for axis in range(3):
            low, high = self.segmentation.begin[axis], self.segmentation.end[axis]
            at = self.indices(self.truth, axis)
            found = np.flatnonzero((at >= low) & (at < high)) + self.truth.begin[axis]
            spans.append((int(found[0]), int(found[-1]) + 1) if found.size else (0, 0))
        return Box(vec3(b for b, _ in spans), vec3(e for _, e in spans))

    def indices(self, box: Box, axis: int) -> NDArray[np.int64]:
        """Voxels of the segmentation along an axis of a box of the truth."""
        import numpy as np

        at = np.arange(box.begin[axis], box.end[axis], dtype=np.int64)
        if self.ratio[axis] == 1:
            return at
        picked: NDArray[np.int64] = np.floor((at + 0.5) * self.ratio[axis] + _ROUNDING_VOX).astype(
            np.int64
        )
        return picked

    def tiles(self) -> Iterator[Box]:
        """The shared box in parts of which neither volume has more than `EDGE_VOX` along an axis."""
        edge = vec3(max(int(EDGE_VOX / max(r, 1)), 1) for r in self.ratio)
        return self.shared().tiles(edge)

    def read(self, volume: Volume, box: Box) -> NDArray[np.integer[Any]]:
        """The segmentation's ids at the voxels of a box of the truth."""
        import numpy as np

        if self.is_one_to_one:
            as_is: NDArray[np.integer[Any]] = volume.read(box)[0]
            return as_is
        at = [self.indices(box, axis) for axis in range(3)]
        read = Box(vec3(i[0] for i in at), vec3(i[-1] + 1 for i in at))
        stored = volume.read(read)[0]
        picked: NDArray[np.integer[Any]] = stored[
            np.ix_(*(i - b for i, b in zip(at, read.begin, strict=True)))
        ]
        return picked


def score(
    segmentation: str,
    truth: str,
    mips: tuple[int, int] = (0, 0),
    *,
    resample: bool = False,
    background: Sequence[int] = (),
) -> dict[str, Any]:
    """VI split, VI merge, VI (bits) and ARAND over the voxels that both volumes have and truth labels.

    Parameters
    ----------
    segmentation, truth, mips
        URLs of the volumes, and the mip of each.
    resample
        Compare volumes of other voxel sizes, at the centres of the truth's voxels.
    background
        Ids that mean what 0 means: not labelled in the truth, background in the segmentation.

    Raises
    ------
    ConfigError
        The volumes don't meet, hold no ids, or have other voxel sizes.
    """
    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.kernels.evaluate import ContingencyTable

    volumes = [open_volume(url, mip) for url, mip in zip((segmentation, truth), mips, strict=True)]
    for volume in volumes:
        if not volume.info.dtype.startswith(("uint", "int", "bool")) or volume.info.channels != 1:
            raise ConfigError(
                f"{volume.info.url} holds {several(volume.info.channels, 'channel')} of {volume.info.dtype}, not one of ids"
            )
    ours, theirs = (v.info for v in volumes)
    pairing = Pairing(ours.box, theirs.box, _ratio(ours, theirs, resample))
    shared = pairing.shared()
    if shared.is_empty:
        raise ConfigError(
            f"the volumes don't meet: {ours.box} of {ours.size_words} nm and {theirs.box} of {theirs.size_words} nm (zyx voxels, offset included)",
            "compare volumes of one frame: check their voxel offsets",
        )
    table = ContingencyTable(background)
    for box in pairing.tiles():
        table.add(pairing.read(volumes[0], box), volumes[1].read(box)[0])
    scores = table.scores()
    return {
        "vi": scores.vi,
        "vi_split": scores.vi_split,
        "vi_merge": scores.vi_merge,
        "arand": scores.arand,
        "voxels": scores.voxels,
        "box": str(shared),
        "notes": _notes(ours, theirs, pairing),
    }


def _ratio(segmentation: VolumeInfo, truth: VolumeInfo, resample: bool) -> Size3:
    """The truth's voxel size in voxels of the segmentation; 1 where they are compared one by one.

    Raises
    ------
    ConfigError
        The sizes differ, and nobody asked for that; or one isn't known, and somebody did.
    """
    unknown = [info.url for info in (segmentation, truth) if not is_size_known(info)]
    if segmentation.has_voxels_of(truth, _SAME_SIZE) or (unknown and not resample):
        return (1, 1, 1)
    if unknown:
        raise ConfigError(
            f"--resample: {unknown[0]} doesn't say how large its voxels are",
            "write its voxel size into its metadata",
        )
    if not resample:
        raise ConfigError(
            f"{segmentation.url} has voxels of {segmentation.size_words} nm at mip {segmentation.mip}, "
            f"{truth.url} of {truth.size_words} nm at mip {truth.mip} (zyx)",
            f"{_fitting_mips(segmentation.url, truth.url)}--resample compares them at the centres of the truth's voxels",
        )
    z, y, x = (t / s for t, s in zip(truth.voxel_size_nm, segmentation.voxel_size_nm, strict=True))
    return (z, y, x)


def _fitting_mips(segmentation: str, truth: str) -> str:
    """Which mips have voxels of one size, finest first; nothing where none have."""
    with suppress(MagnetonError):
        ours, theirs = (list(read_levels(url)) for url in (segmentation, truth))
        for one in ours:
            for other in theirs:
                if one.has_voxels_of(other, _SAME_SIZE):
                    return (
                        f"--mip {one.mip} {other.mip} compares voxels of {one.size_words} nm; or "
                    )
    return ""


def _notes(segmentation: VolumeInfo, truth: VolumeInfo, pairing: Pairing) -> list[str]:
    """What was assumed, and what of the truth was compared with what."""
    notes = [f"{info.url}: {note}" for info in (segmentation, truth) for note in info.notes]
    if not (is_size_known(segmentation) and is_size_known(truth)):
        notes.append("without both voxel sizes, they are compared voxel by voxel")
    if not pairing.is_one_to_one:
        notes.append(
            f"voxels of {segmentation.size_words} nm were read at the centres of the truth's, {truth.size_words} nm"
        )
    return notes


def show(segmentation: str, truth: str, mips: tuple[int, int], as_json: bool, **how: Any) -> None:
    """Print the scores, and keep them with the run that made the segmentation; ``how`` as in `score`."""
    scores = score(segmentation, truth, mips, **how)
    is_kept = kept.keep(segmentation, truth, mips, scores)
    if as_json:
        click.echo(json.dumps(scores))
        return
    click.echo(
        f"VI     {scores['vi']:.4f} bits (split {scores['vi_split']:.4f} + merge {scores['vi_merge']:.4f})"
    )
    click.echo(f"ARAND  {scores['arand']:.4f}")
    click.echo(f"over   {several(scores['voxels'], 'labelled voxel')} of {scores['box']}")
    for note in scores["notes"]:
        click.echo(f"note   {note}")
    if is_kept:
        click.echo("kept   with the run that made it: magneton runs CONFIG shows it")
