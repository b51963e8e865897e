"""How much of an output verify reads, and how that is said; light.

verify looks at the size of every chunk. It reads and sums up all chunks of an output in files; of
an output in a bucket, and where reading would cost more than `SHARE` of the run, it takes a sample.
The sample hangs on nothing but the result: whoever verifies the same result again reads the same
chunks, so damage that was found once is found again. Damage outside of it is found by ``status
--check``, which marks it for the next run (see `outcome.status_check`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from typing import Any, Literal

from magneton_tasks.base.units import human_bytes, several

#: CPU seconds to read a chunk's file and sum it up: a file, and a byte (benchmarks/verify.py).
FILE_S, BYTE_S = 8e-6, 0.5e-9
#: Part of the run's CPU time that reading may take.
SHARE = 0.03

#: What sections of the config make of objects: keys of verify's result.
MADE = {"mesh": "meshes", "skeleton": "skeletons"}
How = Literal["all", "sampled", "sizes"]


def share_to_read(files: int, n_bytes: int, run_cpu_s: float, *, is_local: bool) -> float:
    """Part of the chunks that verify reads, 0 to 1; 0: one of each cell.

    Parameters
    ----------
    files, n_bytes
        Of all chunks of the output, as recorded.
    run_cpu_s
        CPU seconds that the result has cost, as far as records tell.
    is_local
        Whether the output lies in files.
    """
    if not is_local:
        return 0.0
    cost_s = files * FILE_S + n_bytes * BYTE_S
    return 1.0 if cost_s <= SHARE * run_cpu_s else SHARE * run_cpu_s / cost_s


def chosen(n: int, share: float, seed: str) -> Collection[int]:
    """Which of a cell's ``n`` chunks are read: always the same for the same ``seed``."""
    if share >= 1:
        return range(n)
    return set(Random(seed).sample(range(n), min(n, max(1, int(n * share)))))


def checked(chunks: int, read: int, share: float) -> dict[str, Any]:
    """What verify's result keeps: ``chunks`` there are, ``read`` were compared with their checksums."""
    how: How = "all" if read == chunks else "sampled" if share < 1 else "sizes"
    return {"how": how, "chunks": chunks, "read": read}


def file_words(verified: Mapping[str, Any]) -> str:
    """What the files of a verified result are."""
    return "shards" if verified.get("sharded") else "chunks"


def made_words(made: Mapping[str, Any]) -> str:
    """What verify counted of meshes or skeletons: ``1,234 objects in 4 shards (56 MiB), 7 left out as dust``."""
    objects, shards = several(made["objects"], "object"), several(made["shards"], "shard")
    dust = f", {made['dust']:,} left out as dust" if made["dust"] else ""
    return f"{objects} in {shards} ({human_bytes(made['bytes'])}){dust}"


def words(verified: Mapping[str, Any] | None) -> str | None:
    """How sure a verified result is: ``complete``, or what was looked at; None: it isn't verified.

    Parameters
    ----------
    verified
        The result of verify. What wrote no volume has no chunks (``sharded``: shards of them); before there were checksums
        verify looked at sizes alone, and said nothing of it.
    """
    if verified is None or verified.get("failures"):
        return None
    if "chunks" not in verified:
        return "complete"
    found = verified.get("checked") or checked(verified["chunks"], 0, 1)
    chunks, read, files = found["chunks"], found["read"], file_words(verified).removesuffix("s")
    if found["how"] == "all":
        return "complete"
    if found["how"] == "sampled":
        return f"sampled: sizes of all {several(chunks, files)}, checksums of {read:,}"
    return f"complete by size: {chunks - read:,} of {several(chunks, files)} were written without a checksum"
