"""Arrays in, arrays out; numba compiles what is slow in Python."""

from magneton_tasks import kernel_cache

kernel_cache.prepare()  # before functions are decorated, and before numba reads the environment

from magneton_tasks.kernels import lean_numba  # noqa: E402

lean_numba.load()
