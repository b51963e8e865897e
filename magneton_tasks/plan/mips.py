"""Which axes each mip halves (standard library only: plan needs it where numpy isn't imported)."""

from __future__ import annotations

from math import isfinite

from magneton_tasks.base.geometry import Size3, Vec3, vec3
from magneton_tasks.errors import ConfigError


def mip_factors(voxel_size_nm: Size3, mips: int) -> list[Vec3]:
    """Downsampling factors from each mip to the next: they follow the voxel size until it's isotropic.

    An axis is halved (factor 2) if its voxel size lies nearer to the finest axis' than to twice
    that, on a logarithmic scale: ``size < sqrt(2) * finest``. So coarse axes wait until the fine
    ones have caught up, no axis ends further than a factor of sqrt(2) from another, and the
    finest axis is halved every time. 40 x 8 x 8 nm gives (1, 2, 2), (1, 2, 2), (2, 2, 2), ...

    Parameters
    ----------
    voxel_size_nm
        (z, y, x), in nm, at mip 0.
    mips
        How many mips beyond mip 0; 0 gives an empty list.

    Raises
    ------
    ConfigError
        For a voxel size that isn't positive and finite, or a negative number of mips.
    """
    if mips < 0:
        raise ConfigError(f"the number of additional mips is {mips}", "set apply.mips to 0 or more")
    if not all(isfinite(size) and size > 0 for size in voxel_size_nm):
        raise ConfigError(
            f"the voxel size is {voxel_size_nm} nm (zyx)",
            "correct the resolution in the volume's metadata: three positive numbers",
        )
    sizes = [float(size) for size in voxel_size_nm]
    factors: list[Vec3] = []
    for _ in range(mips):
        finest = min(sizes)
        factor = vec3(2 if size * size < 2 * finest * finest else 1 for size in sizes)
        sizes = [size * f for size, f in zip(sizes, factor, strict=True)]
        factors.append(factor)
    return factors
