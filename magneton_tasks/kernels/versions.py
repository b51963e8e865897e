"""Version numbers of the kernels, by hand: what a stage stores depends on them.

Bump a number when that kernel's results change (its golden test says so): the fingerprints of its
stage and of those after it change, so old results are not mixed with new ones. A package upgrade
alone never changes a number.
"""

from __future__ import annotations

SEGMENT = 1
OVERLAP = 1
#: of the exact method: blocks, faces, rounds, and what follows from their merges at a threshold
EXACT_BLOCK = 2
EXACT_FACES = 1
EXACT_ROUNDS = 2
EXACT_CUT = 1
POOLING = 1
#: the rule that takes the threshold from the map
MAP_THRESHOLD = 2
DOWNSAMPLE = 1
MESH = 1
SKELETON = 1
#: layout of the files under ``paths.work``
LAYOUT = 1
