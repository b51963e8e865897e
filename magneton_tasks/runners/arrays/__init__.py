"""What any batch scheduler's job arrays need."""
