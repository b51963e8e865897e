"""``magneton warm``."""
