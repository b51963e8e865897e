"""Settings of all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The first call of a compiled kernel takes seconds, and machines differ: no test is about time.
settings.register_profile("magneton", deadline=None)
settings.load_profile("magneton")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Stages called in this process handle SIGTERM; a child of a later test couldn't be ended by it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
