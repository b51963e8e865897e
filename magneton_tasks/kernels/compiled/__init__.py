"""Compiled code of the kernels: where it is kept, and how it gets there."""
