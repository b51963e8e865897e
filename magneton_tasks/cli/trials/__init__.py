"""``magneton try`` and ``tune``."""
