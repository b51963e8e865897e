"""The plan as data, pure: geometry, fingerprints, memory and time to come."""
