"""What a person wrote: the volume config, read, checked, shown and changed."""
