"""Magneton: from an affinity map of an EM volume to one instance segmentation, block by block."""

__version__ = "0.1.0"
