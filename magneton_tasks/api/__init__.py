"""What Python programs call: `magneton` shows it, docs/python.md tells it."""
