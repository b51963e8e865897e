"""Magneton: from an affinity map of an EM volume to one instance segmentation, block by block."""

#: Bumped by each release that changes a format on disk (plan.json, records, tables): workers refuse a
#: plan of another version before they read more of it. What a *result* is, `versions` says.
__version__ = "0.3.0"
