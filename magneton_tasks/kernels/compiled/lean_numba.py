"""Import numba without what it looks for in other packages: a third of its CPU time, unused here.

numba asks whether it can call BLAS (an import of all of scipy.linalg) and C code of cffi's; scipy
asks for Cython, for its own tests. All of them do without, and no kernel calls either of the two:
one that did would fail as it is compiled, and say that scipy is required for linear algebra.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NOT_NEEDED = ("scipy", "scipy.linalg.cython_blas", "cffi", "cython")


def load() -> None:
    """Import numba, as far as it is needed to call what was compiled before."""
    with by_itself():
        import numba.core.typing.cffi_utils  # noqa: F401


def load_compiler() -> None:
    """Import those of the parts which numba needs to compile that look for `_NOT_NEEDED`."""
    with by_itself():
        import numba.np.arraymath  # noqa: F401


@contextmanager
def by_itself() -> Iterator[None]:
    """Let imports of `_NOT_NEEDED` fail, as if they weren't installed; not of what is imported already."""
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
