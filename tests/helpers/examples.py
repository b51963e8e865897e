"""How many examples a property is tried on."""

from __future__ import annotations

from hypothesis import settings

#: The profile of `make test-long`; see ``conftest.py``.
LONG = "long"


def examples(few: int, many: int) -> settings:
    """``few`` examples in `make test`, ``many`` in `make test-long`: where the profile's don't fit."""
    is_long = settings.get_current_profile_name() == LONG
    return settings(max_examples=many if is_long else few)
