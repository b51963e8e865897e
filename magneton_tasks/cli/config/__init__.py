"""``magneton config ...``."""
