"""Looking at volumes in Neuroglancer: its own client and the volumes' files, served on loopback."""
