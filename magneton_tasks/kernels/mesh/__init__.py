"""Surfaces of labels, and fewer triangles for them."""
