"""Kernels of the exact method by rounds, in memory: CPU us per voxel, against an earlier release.

The volume is 256^3 of real affinities (pub128 mirrored, else the sample), in blocks of 64 and of 128.
Only kernels count, so nothing is demanded: what a run takes with reading, writing and start-up is
other benchmarks'. ``MAGNETON_BENCH_EARLIER``
names a checkout of a release that joined blocks in a tree; its block step, count and joins work the
same blocks in the same run, with this one's interpreter and libraries.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.clock import Seconds, best_of
from benchmarks.measure import Row, command, row
from benchmarks.volumes import mirrored, source
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.fixed_point import least_score
from tests.helpers.exact import rounds_in_memory
from tests.helpers.exact.whole import regular

EDGE = 256
BLOCKS = (64, 128)
REPEATS = 3
LOWEST, THRESHOLD = 0.05, 0.3
EARLIER = "MAGNETON_BENCH_EARLIER"
#: What each kernel is reported as.
KERNELS = {
    "segment_supervoxels": "block step",
    "face_contacts": "faces",
    "parts_of": "faces",
    "decide_face": "faces",
    "first_round": "rounds",
    "later_round": "rounds",
    "cut_blocks": "cut",
}


def run(*, full: bool = False) -> list[Row]:
    """Measure; ``full`` changes nothing."""
    affinity = volume()
    with TemporaryDirectory() as directory:
        file = Path(directory) / "affinity.npy"
        np.save(file, affinity)
        earlier = os.environ.get(EARLIER)
        return [
            line
            for block in BLOCKS
            for line in _rows(
                block,
                _now(affinity, block),
                _earlier(Path(earlier), file, block) if earlier else {},
            )
        ]


def volume() -> NDArray[np.uint8]:
    """The mirror planes lie on no block's face, and no edge leads out at the low faces."""
    affinity = np.roll(mirrored(source(), (EDGE,) * 3), (37,) * 3, (1, 2, 3))
    for axis in range(3):
        np.moveaxis(affinity[axis], axis, 0)[0] = 0
    return affinity


def _rows(block: int, now: Seconds, earlier: Seconds) -> list[Row]:
    title = f"{EDGE}^3 in blocks of {block}"
    lines = [
        row(f"{title}: {what}", seconds / EDGE**3 * 1e6, "CPU us/voxel")
        for what, seconds in now.items()
    ]
    if not earlier:
        return [*lines, row(f"  no {EARLIER}: its kernels are left out", "-", "")]
    lines += [
        row(f"  the earlier release: {what}", seconds / EDGE**3 * 1e6, "CPU us/voxel")
        for what, seconds in earlier.items()
    ]
    rest, before = (sum(s[w] for w in s if w != "block step") for s in (now, earlier))
    step = now["block step"] / earlier["block step"]
    return [
        *lines,
        row("  block step / the earlier one's", step, "x"),
        row("  faces, rounds and cut / count and joins", rest / before, "x"),
    ]


def _now(affinity: NDArray[np.uint8], block: int) -> Seconds:
    cuts = regular((EDGE,) * 3, (block,) * 3)
    settings = ExactSettings(threshold=LOWEST)

    def work() -> None:
        made = rounds_in_memory.run_rounds(affinity, cuts, settings)
        made.cut(least_score(THRESHOLD), (2, 2, 2))

    return best_of(rounds_in_memory, KERNELS, work, REPEATS)


_EARLIER = """
import json, sys
import numpy as np
sys.path.append(sys.argv[1])
from clock import best_of
from magneton_tasks.base.methods import ExactSettings
from tests.helpers.exact import whole
affinity, block, threshold = np.load(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
cuts = whole.regular(affinity.shape[1:], (block,) * 3)
fan_in = whole.by_twos(tuple(len(c) - 1 for c in cuts))
settings = ExactSettings(threshold=threshold)
kernels = {"segment_block_exact": "block step", "face_contacts": "count", "join": "joins"}
work = lambda: whole.segment_whole(affinity, cuts, settings, fan_in)
print(json.dumps(best_of(whole, kernels, work, repeats=int(sys.argv[5]))))
"""


def _earlier(checkout: Path, file: Path, block: int) -> Seconds:
    own = Path(__file__).parent
    used = command(
        *(sys.executable, "-c", _EARLIER, own, file, block, THRESHOLD, REPEATS),
        env={"PYTHONPATH": str(checkout)},
        cwd=checkout,
    )
    seconds: Seconds = json.loads(used.stdout.splitlines()[-1])
    return seconds
