"""``magneton check-layer``."""
