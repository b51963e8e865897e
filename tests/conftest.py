"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# The first call of a compiled kernel takes seconds, and machines differ: no test is about time.
settings.register_profile("magneton", deadline=None)
settings.load_profile("magneton")
