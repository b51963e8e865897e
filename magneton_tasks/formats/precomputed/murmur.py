"""The hash that spreads keys over shards: murmurhash3_x86_128 of the eight bytes of each, seed 0.

The first eight bytes of the digest, as the precomputed format takes them. After Austin Appleby's
MurmurHash3, which is in the public domain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]


def murmur(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hash of each key, uint64 (n,)."""
    keys = np.asarray(keys, np.uint64)
    low, high = keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32)
    length = np.uint32(8)
    first = _times(_turned(_times(low, 0x239B961B), 15), 0xAB0E9789) ^ length
    second = _times(_turned(_times(high, 0xAB0E9789), 16), 0x38B34AE5) ^ length
    # The third and fourth words have no bytes of the key: equal to the length alone, and to each other.
    first = first + second + length + length
    second, rest = second + first, length + first
    first, second, rest = _mixed(first), _mixed(second), _mixed(rest)
    first = first + second + rest + rest
    second = second + first
    return first.astype(np.uint64) | second.astype(np.uint64) << np.uint64(32)


def _times(words: Words, factor: int) -> Words:
    return words * np.uint32(factor)


def _turned(words: Words, bits: int) -> Words:
    return words << np.uint32(bits) | words >> np.uint32(32 - bits)


def _mixed(words: Words) -> Words:
    words = _times(words ^ words >> np.uint32(16), 0x85EBCA6B)
    words = _times(words ^ words >> np.uint32(13), 0xC2B2AE35)
    return words ^ words >> np.uint32(16)
