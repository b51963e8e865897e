"""What knows neither a config nor a volume: files, leases, boxes of voxels, units, places."""
