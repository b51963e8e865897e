"""Stage plan: what it looks at, refuses and freezes."""
