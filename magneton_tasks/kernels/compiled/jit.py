"""numba's decorator, for all modules with compiled code: what it makes is kept (see `cache`)."""

from __future__ import annotations

from magneton_tasks.kernels.compiled import cache, lean_numba

cache.prepare()  # before functions are decorated, and before numba reads the environment
lean_numba.load()

from numba import njit  # noqa: E402

__all__ = ["njit"]
