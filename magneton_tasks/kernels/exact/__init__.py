"""The exact method: the same segmentation whatever the blocks."""
