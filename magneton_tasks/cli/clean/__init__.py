"""``magneton clean`` and ``maintain``."""
