"""``magneton doctor``: what is missing or odd here, one file per subject."""
