"""What the tests of this directory share."""

from __future__ import annotations

from tests.helpers.chromium import browser, new_page

__all__ = ["browser", "new_page"]
