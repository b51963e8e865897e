"""Arrays in, arrays out; numba compiles what is slow in Python."""
