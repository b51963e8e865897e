"""HDF5: arrays in a file, addressed as ``file.h5/path/of/the/array``."""
