"""Settings of the methods, plain values: the config fills them, the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from magneton_tasks.errors import ConfigError

Supervoxels = Literal["waterz", "3d", "2d"]
#: What a run may be limited to: see `plan.stage_table`.
Choice = Literal["segment", "pool", "apply"]
RuleName = Literal["mutual", "both", "iou", "any"]

#: The most voxels of a block with `method: exact`: positions in it are uint32, three to a voxel.
MAX_EXACT_BLOCK_VOX = 2**32 // 3
#: Added to a supervoxel's name, makes its global id: these count blocks from 1.
FIRST_BLOCK = 1 << 32


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """What decides a block's labels (method overlap).

    Attributes
    ----------
    threshold
        Affinity in [0, 1]: regions merge while their score is at least this.
    merge_function
        A name that `base.scoring.parse_scoring` takes.
    supervoxels
        ``waterz``: its watershed on affinities; ``3d``, ``2d``: seeds by distance transform.
    aff_thresholds
        (low, high). Voxels without an affinity above low are background; ``waterz`` joins voxels
        with an affinity of high or more at once.
    interior_threshold
        ``3d``, ``2d``: mean affinity above which a voxel counts as the inside of a cell.
    min_distance
        ``3d``, ``2d``: voxels by which two seeds are apart at least.
    """

    threshold: float
    merge_function: str = "aff50_his256"
    supervoxels: Supervoxels = "waterz"
    aff_thresholds: tuple[float, float] = (0.0001, 0.9999)
    interior_threshold: float = 0.1
    min_distance: int = 3


@dataclass(frozen=True, slots=True)
class ExactSettings:
    """How the exact method segments: this decides its segmentation, and nothing else does.

    Attributes
    ----------
    threshold
        Mean affinity in [0, 1] down to which regions merge.
    s2
        Voxels below which a region merges across its best voxel edge, before mean linkage; 0 or 1: off.
    t_low, t_high
        uint8 affinities: a voxel without an edge of ``t_low`` is background; edges of ``t_high`` join at
        once.
    s_min
        Voxels below which a basin joins the one across its best voxel edge; 0 or 1: off.
    t_size
        uint8 affinity below which no small basin or small region joins anything.
    """

    threshold: float
    s2: int = 200
    t_low: int = 1
    t_high: int = 255
    s_min: int = 50
    t_size: int = 1


@dataclass(frozen=True)
class Rule:
    """When two labels of two blocks are parts of one object.

    ========  ======================================================================== ==========
    name      the pair is joined if                                                    reads
    ========  ======================================================================== ==========
    mutual    each is the other's best (largest n; ties: the smaller label) among the  min_overlap_vox,
              labels of this block pair, n >= min_overlap_vox, n / min(a_in, b_in) >=  min_frac
              min_frac
    both      n / a_in >= min_frac and n / b_in >= min_frac                            min_frac
    iou       n / (a_in + b_in - n) >= min_iou                                         min_iou
    any       n / a_in >= min_frac or n / b_in >= min_frac                             min_frac
    ========  ======================================================================== ==========

    Raises
    ------
    ConfigError
        For an unknown name, a fraction outside [0, 1], or a negative min_overlap_vox.
    """

    name: RuleName = "mutual"
    min_overlap_vox: int = 5
    min_frac: float = 0.5
    min_iou: float = 0.5

    def __post_init__(self) -> None:
        names = get_args(RuleName)
        if self.name not in names:
            raise ConfigError(
                f"unknown rule {self.name!r}", f"pool.rule is one of {', '.join(names)}"
            )
        for key in ("min_frac", "min_iou"):
            if not 0 <= getattr(self, key) <= 1:  # NaN isn't either
                raise ConfigError(f"pool.{key} is {getattr(self, key)}", "set it between 0 and 1")
        if self.min_overlap_vox < 0:
            raise ConfigError(
                f"pool.min_overlap_vox is {self.min_overlap_vox}", "set it to 0 or more"
            )


#: What to do where two levels `contradict` each other.
LEVELS_ADVICE = "choose 1 <= t_low <= t_high <= 256"


def contradict(t_low: int, t_high: int) -> bool:
    """Whether these two levels of the exact method can't be used together."""
    return not 1 <= t_low <= t_high <= 256
