"""``magneton view`` and ``report``."""
