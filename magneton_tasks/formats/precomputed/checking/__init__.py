"""Checks of a precomputed layer that another program may have made or worked on; see `layer`."""
