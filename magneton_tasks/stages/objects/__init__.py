"""Geometry of objects, by cell and then by shard: meshes and skeletons, which differ by their maker alone."""
