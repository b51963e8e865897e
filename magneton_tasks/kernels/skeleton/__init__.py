"""Skeletons of objects: by cell, then joined. Lattices of voxels (z, y, x); lengths in nm."""
