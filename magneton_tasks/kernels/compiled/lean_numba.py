"""Import numba without what it looks for in other packages: a third of its CPU time, unused here.

numba asks whether it can call BLAS (an import of all of scipy.linalg) and C code of cffi's; scipy
asks for Cython, for its own tests. All of them do without, and no kernel calls either of the two:
one that did would fail as it is compiled, and say that scipy is required for linear algebra.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NOT_NEEDED = ("scipy.linalg.cython_blas", "cffi", "cython")


def load() -> None:
    """Import numba, and of its parts those that look for `_NOT_NEEDED`."""
    with _absent(*_NOT_NEEDED):
        import numba.core.typing.cffi_utils
        import numba.np.arraymath  # noqa: F401


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let imports of these modules fail, as if they weren't installed; not of what is imported already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
