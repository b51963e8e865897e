"""Where the values of a minishard lie in their file: what both kinds of shards tell in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Index:
    """Keys of a minishard, ascending, and the places of their values: uint64 (n,) each; begins in the file."""

    ids: NDArray[np.uint64]
    begins: NDArray[np.uint64]
    sizes: NDArray[np.uint64]

    @classmethod
    def decoded(cls, data: bytes, head: int) -> Index:
        """Of its bytes, inflated: whole rows of uint64 (3, n).

        Parameters
        ----------
        head
            Bytes of the file's head, from whose end places are counted.
        """
        rows = np.frombuffer(data, "<u8").reshape(3, -1)
        ends = np.cumsum(rows[1] + rows[2], dtype=np.uint64) + np.uint64(head)
        return cls(np.cumsum(rows[0], dtype=np.uint64), ends - rows[2], rows[2])

    def find(self, key: int) -> tuple[int, int] | None:
        """Begin and size of a value, as it is stored; None: the minishard doesn't hold it."""
        at = int(np.searchsorted(self.ids, np.uint64(key)))
        if at == len(self.ids) or int(self.ids[at]) != key:
            return None
        return int(self.begins[at]), int(self.sizes[at])
