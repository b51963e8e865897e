"""Arrays in, arrays out; numba compiles what is slow in Python."""

from magneton_tasks import kernel_cache

kernel_cache.prepare()
