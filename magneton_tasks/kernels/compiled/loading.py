"""Load compiled functions that are only called, as most are: numba would make each ready to compile with.

What that saves is about half of the CPU time of loading: the stages of the exact method load 4 to 44
functions a process, which took up to a quarter of what they work on small volumes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.entrypoints import init_all
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys


def get_ready() -> None:
    """Do beforehand what the first call of any compiled function would do."""
    import numpy.ma  # noqa: F401  # numba asks of each array whether it is a masked one

    init_all()  # type: ignore[no-untyped-call]
    start_memory(cpu_target.target_context)


def start_memory(target_context: Any) -> None:
    """Make the memory of arrays ready that compiled code makes; nothing happens the second time."""
    rtsys.initialize(target_context)


def rebuilt(target_context: Any, content: tuple[Any, ...]) -> Any:
    """The function of what `CompileResult._reduce` made; numba's lock must be held."""
    codegen = target_context.codegen()
    description = content[1]
    names = description.llvm_func_name, description.llvm_cpython_wrapper_name
    codegen._engine._defined_symbols.update(names)  # which it asks for before it looks them up
    usual = codegen._library_class
    codegen._library_class = _LoadedLibrary
    try:
        with _no_timing():
            return CompileResult._rebuild(target_context, *content)  # type: ignore[no-untyped-call]
    finally:
        codegen._library_class = usual


class _LoadedLibrary(JITCodeLibrary):
    """A function's machine code. Its bitcode is parsed when a function is compiled that calls it."""

    _bitcode = b""

    @classmethod
    def _unserialize(cls, codegen: Any, state: tuple[str, str, Any]) -> Any:
        name, kind, data = state
        if kind != "object":
            return super()._unserialize(codegen, state)  # type: ignore[no-untyped-call]
        made: Any = codegen.create_library(name)
        made.enable_object_caching()
        code, made._bitcode = data
        made._set_compiled_object(code)
        made._finalize_final_module()
        return made

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None and self._bitcode:
            self._shared_module: Any = llvm.parse_bitcode(self._bitcode)
            engine: Any = self._codegen._engine
            engine._load_defined_symbols(self._shared_module)
        return super()._get_module_for_linking()  # type: ignore[no-untyped-call]


@contextmanager
def _no_timing() -> Iterator[None]:
    """Don't let numba time each call of LLVM, for profiles of its own: a third of what loading takes."""
    lock = llvm.ffi.lib._lock
    told = list(lock._cblist)
    lock._cblist.clear()
    try:
        yield
    finally:
        lock._cblist.extend(told)
