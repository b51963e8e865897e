"""``magneton status`` and ``evaluate``."""
