"""From what blocks leave open to the final objects: faces, then rounds, then names (docs/exact.md)."""
