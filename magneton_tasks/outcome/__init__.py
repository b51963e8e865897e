"""What became of a run: status, report, block map."""
