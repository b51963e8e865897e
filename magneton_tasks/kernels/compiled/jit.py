"""numba's decorator, for all modules with compiled code: what it makes is kept (see `cache`)."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache as remembered
from hashlib import sha256
from typing import Any, TypeVar

from magneton_tasks.kernels.compiled import cache, lean_numba
from magneton_tasks.kernels.compiled.archives import compiles

lean_numba.load()

import numba  # noqa: E402 (after what it shall not find is hidden)
from numba.core.caching import _Cache  # noqa: E402
from numba.core.dispatcher import Dispatcher  # noqa: E402
from numba.core.serialize import dumps  # noqa: E402
from numba.core.sigutils import normalize_signature  # noqa: E402

from magneton_tasks.kernels.compiled import loading  # noqa: E402

Function = TypeVar("Function", bound=Callable[..., Any])


def njit(**options: Any) -> Callable[[Function], Function]:
    """`numba.njit` with options; what it compiles is kept."""

    def decorate(function: Function) -> Any:
        made: Any = numba.njit(**options)(function)
        if isinstance(made, Dispatcher):  # NUMBA_DISABLE_JIT gives the function itself
            # Where numba's own option `cache` puts numba's.
            made._cache = KeptFunction(function)  # type: ignore[attr-defined]
        return made

    return decorate


def get_ready() -> None:
    """Do what the first call of any kernel would do: for a process that forks those that call them.

    They needn't read the archive, then, nor look for what extends numba, nor compile its memory of arrays.
    """
    if compiles():
        cache.known()
        loading.get_ready()


@remembered
def _cpu(codegen: Any) -> tuple[str, ...]:
    """What numba compiles for."""
    found: tuple[str, ...] = codegen.magic_tuple()
    return found


class KeptFunction(_Cache):
    """What one function was compiled to, for each kind of arguments, as its dispatcher asks for it.

    numba's own caches differ in two ways: they have a directory, and they import and register all
    that numba can compile before they look there: .15 CPU s, which a process that only loads can do
    without.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        module = function.__module__.removeprefix("magneton_tasks.").replace(".", "/")
        self._name = f"{module}.{function.__qualname__}"
        self._code = function.__code__.co_code

    @property
    def cache_path(self) -> None:
        """None: it has no directory of its own."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What is kept for these types of arguments; None: nothing, and numba is ready to compile."""
        kept = cache.find(self._entry(sig, target_context))
        if kept is None:
            lean_numba.load_compiler()
            target_context.refresh()
            return None
        loading.start_memory(target_context)
        with lean_numba.by_itself():  # a function's code may name any part of numba
            content = pickle.loads(kept)
        return loading.rebuilt(target_context, content)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled; not what holds addresses of this process."""
        if not data.library.has_dynamic_globals:
            code: bytes = dumps(data._reduce())  # type: ignore[no-untyped-call]
            cache.keep(self._entry(sig, data.target_context), code)

    def _entry(self, sig: Any, target_context: Any) -> str:
        """Name in an archive; it changes with the types of arguments, the CPU and the bytecode."""
        types, _ = normalize_signature(sig)  # type: ignore[no-untyped-call]
        what = types, _cpu(target_context.codegen()), self._code
        return f"{self._name}-{sha256(repr(what).encode()).hexdigest()[:16]}"

    def enable(self) -> None:
        """It always is."""

    def disable(self) -> None:
        """It never is."""

    def flush(self) -> None:
        """What is kept stays."""
