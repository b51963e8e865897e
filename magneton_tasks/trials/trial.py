"""One box of a volume, segmented as one block to find a good threshold: what try and tune share.

The box is read, checked and segmented as a block of stage segment is, in a forked child with a
memory limit; but nothing is planned, and no lease is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from magneton_tasks.base import units
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import SegmentSettings
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.config.settings import segment_settings
from magneton_tasks.errors import (
    UsageError,
)
from magneton_tasks.formats.metadata import VolumeInfo, chunk_identity, read_input
from magneton_tasks.plan.block_grid import make_grid
from magneton_tasks.plan.plan import ThresholdChoice, digest
from magneton_tasks.stages.planning import checks, thresholds
from magneton_tasks.stages.planning.sizes import overlap_of

#: As `config.model.Block`: labels and waterz don't hold more.
_MOST_VOXELS = 2**31 - 1
#: Thresholds are rounded to this many digits: float32 doesn't tell finer ones apart.
_DIGITS = 6
#: Stands for the exact method where merge functions of the overlap method are named.
EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Trial:
    """A volume, and the box of it that is tried.

    Attributes
    ----------
    info
        Of the affinity map.
    box
        In voxels of the affinity map's mip, in its frame.
    """

    config: RunConfig
    info: VolumeInfo
    box: Box

    @property
    def function(self) -> str:
        """The config's merge function, or `EXACT`."""
        return EXACT if self.config.method == "exact" else self.config.segment.merge_function

    def using(self, function: str) -> Trial:
        """With another merge function, or `EXACT`: and so perhaps another method."""
        if function == self.function:
            return self
        config = self.config
        changes: dict[str, object] = {"method": "exact"}
        if function != EXACT:
            segment = config.segment.model_copy(update={"merge_function": function})
            changes = {"method": "overlap", "segment": segment}
            if self.function == EXACT:  # it has no overlap, and the default may not fit its blocks
                overlap = overlap_of(config.block.size)
                changes["block"] = config.block.model_copy(update={"overlap": overlap})
        return replace(self, config=config.model_copy(update=changes))

    def grid(self, box: Box | None = None) -> Grid:
        """The blocks that a run of the box (or of another) is cut into.

        Raises
        ------
        ConfigError
            Blocks don't overlap where several lie side by side.
        """
        return make_grid(self.config, box or self.box, self.info.chunk_size, self.info.box.begin)

    @property
    def segmented(self) -> Box:
        """What a run of the config segments."""
        box = self.config.box
        return self.info.box if box is None else Box(box.begin, box.end)

    @property
    def input_digest(self) -> str:
        """Digest of what the box holds, as a block's."""
        given = self.config.input
        parts = [self.info.digest, given.version, checks.mask_digest(self.config)]
        if given.identity == "chunks":
            parts.append(chunk_identity(self.info.url, given.mip, self.box, self.info))
        return digest(*parts)


def open_trial(
    path: Path,
    overrides: dict[str, object],
    partition: str | None,
    box: Box | None,
    within: Callable[[VolumeInfo], Box] | None = None,
    blocks: int = 1,
) -> Trial:
    """Read a config and its affinity map's metadata, and choose the box.

    Parameters
    ----------
    box
        None: the centre of what is segmented, at most as large as this many ``blocks`` along each
        axis.
    within
        The part of the volume that counts, of the affinity map's metadata; None: all.

    Raises
    ------
    NoInputError, BadDataError, ConfigError, UsageError
        The config or the volume is wrong, or the box isn't inside.
    """
    config = load_config(path, overrides, partition)
    require_partition(config, str(path))
    info = checks.check_input(config, read_input(config))
    extent = within(info) if within else info.box
    if box is None:
        segmented = Box(config.box.begin, config.box.end) if config.box else info.box
        box = central_box(_meeting(segmented, extent), _extent_of(config, blocks))
    elif not info.box.contains(box):
        raise UsageError(
            f"the box {box} reaches out of the volume, which is {info.box} at mip {config.input.mip}",
            "give a box inside it, z0:z1,y0:y1,x0:x1 in voxels of that mip, voxel offset included",
        )
    else:
        box = _meeting(box, extent)
    if box.voxels > _MOST_VOXELS:
        raise UsageError(
            f"the box {box} has {units.human_count(box.voxels)} voxels; a block has fewer than 2^31",
            "give a smaller box",
        )
    return Trial(config, info, box)


def _extent_of(config: RunConfig, blocks: int) -> Vec3:
    """What this many blocks reach over along each axis, in voxels."""
    size = config.block.size
    overlap = overlap_of(size) if config.method == "exact" else config.block.overlap
    if blocks == 1:
        return size
    return vec3(blocks * (s - o) for s, o in zip(size, overlap, strict=True))


def _meeting(box: Box, extent: Box) -> Box:
    both = box.intersection(extent)
    if both.is_empty:
        raise UsageError(
            f"the box {box} and the truth, which is {extent}, don't meet (zyx, voxels of the affinity map)",
            "give a box that the truth covers",
        )
    return both


def central_box(extent: Box, size: Vec3) -> Box:
    """The centre of ``extent``, at most as large as ``size``."""
    shape = vec3(min(s, e) for s, e in zip(size, extent.shape, strict=True))
    begin = vec3(
        b + (e - s) // 2 for b, e, s in zip(extent.begin, extent.shape, shape, strict=True)
    )
    return Box.of_shape(shape, begin)


def parse_thresholds(text: str) -> tuple[float, ...]:
    """``".5,.6,.7"`` or ``"first:last:step"`` (both ends count), ascending.

    Raises
    ------
    UsageError
        Neither, or a threshold outside [0, 1].
    """
    try:
        if ":" in text:
            first, last, step = (float(part) for part in text.split(":"))
            if not step > 0 or not last >= first or (last - first) / step > 1000:
                raise ValueError
            values = [first + k * step for k in range(int((last - first) / step + 1e-6) + 1)]
        else:
            values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values:
        raise UsageError(
            f"--thresholds {text!r} is neither a list nor a range",
            "write .5,.6,.7 or first:last:step, such as 0.05:0.95:0.05",
        )
    for value in values:
        if not 0 <= value <= 1:
            raise UsageError(
                f"threshold {value:.9g} isn't in [0, 1]",
                "a threshold is an affinity: regions merge while their score is at least this",
            )
    return tuple(sorted({round(value, _DIGITS) for value in values}))


def threshold_name(threshold: float) -> str:
    """A threshold as text: ``0.7``; different ones stay different."""
    return f"{threshold:.{_DIGITS}f}".rstrip("0").rstrip(".")


# ------------------------------------------------------------------ merge functions
def own_threshold(trial: Trial, *, of_map: bool = False) -> ThresholdChoice:
    """The threshold that a run of the volume takes with the trial's method.

    Where it comes from the map and no run has taken it yet, the map is looked at, and nothing kept.

    Parameters
    ----------
    of_map
        The map's own, whatever the config says (exact method).

    Raises
    ------
    MagnetonError
        As `thresholds.known` and `guess`.
    """
    config = trial.config
    if of_map:
        segment = config.segment.model_copy(update={"threshold": None})
        config = config.model_copy(update={"segment": segment})
    source = checks.input_digest(config, trial.info)
    known = thresholds.known(config, {}, trial.segmented, source)
    return (
        known if known.value is not None else thresholds.guess(config, trial.info, trial.segmented)
    )


def settings_of(trial: Trial, function: str) -> SegmentSettings:
    """The kernel's settings, with another merge function."""
    settings = segment_settings(trial.config, USUAL_THRESHOLD)  # sweeps don't read it
    return replace(settings, merge_function=function)


def parse_functions(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical names of merge functions, each once, in order; `EXACT` is one.

    Raises
    ------
    ConfigError
        Unknown, or not shipped compiled; with the nearest, and what there is.
    """
    return tuple(
        dict.fromkeys(
            EXACT if name.strip().lower() == EXACT else parse_scoring(name).canonical
            for name in names
        )
    )
