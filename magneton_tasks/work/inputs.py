"""The input volumes of a run: opening them, and the digest of what a block reads."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from magneton_tasks.config.read import RunConfig
from magneton_tasks.formats.given import of_config
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.metadata import chunk_identity, read_metadata
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import digest
from magneton_tasks.work.attempt import Attempt

if TYPE_CHECKING:  # heavy: imported where they are used, for plan needs the digests only
    from magneton_tasks.formats.affinity import AffinityReader
    from magneton_tasks.formats.mask import MaskReader


def open_affinity(config: RunConfig) -> AffinityReader:
    """The affinity map, read in Magneton's convention."""
    from magneton_tasks.formats.affinity import AffinityReader

    given = config.input
    channels = given.channels if isinstance(given.channels, str) else list(given.channels)
    return AffinityReader(
        config.paths.input,
        given.mip,
        channels,
        given.offset_sign,
        given.invert,
        given.scale,
        of_config(config),
    )


def open_mask(config: RunConfig, affinity: VolumeInfo) -> MaskReader | None:
    """The mask, if there's one."""
    if config.mask.path is None:
        return None
    from magneton_tasks.formats.mask import MaskReader

    return MaskReader(config.mask.path, config.mask.mip, affinity)


def input_digest(attempt: Attempt, key: int) -> str:
    """Digest of what a block reads: the volume's, or with ``identity: chunks`` its chunks'."""
    plan = attempt.plan
    return config_block_digest(attempt.config, plan.geometry, plan.input_digest, key)


def config_block_digest(config: RunConfig, geometry: Geometry, volume_digest: str, key: int) -> str:
    """As :func:`input_digest`, while planning."""
    if config.input.identity == "metadata":
        return volume_digest
    box = geometry.grid.read(key)
    url, mip = config.paths.input, config.input.mip
    return digest(
        volume_digest, chunk_identity(url, mip, box, _metadata(url, mip, of_config(config)))
    )


@cache
def _metadata(url: str, mip: int, given: Given) -> VolumeInfo:
    """The input's metadata, read once a process: there are many blocks."""
    return read_metadata(url, mip, given)
