"""Zarr arrays and OME-Zarr groups."""
