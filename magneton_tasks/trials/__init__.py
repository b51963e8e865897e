"""One box of a volume, tried and scored."""
