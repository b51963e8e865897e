"""What lies in a work directory: records, attempts, labels, tables."""
