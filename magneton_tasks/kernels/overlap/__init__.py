"""The overlap method: blocks by waterz, matched where they intersect."""
