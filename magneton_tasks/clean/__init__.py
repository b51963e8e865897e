"""What can be freed, found and removed."""
