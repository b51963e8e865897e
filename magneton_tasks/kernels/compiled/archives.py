"""Archives of compiled code: which one is that of these kernels on this CPU (see `cache`).

An archive is ``ROOT/<environment>-<sources>.zip``.

ROOT is ``$MAGNETON_KERNEL_CACHE``, else ``$XDG_CACHE_HOME/magneton/kernels`` (``~/.cache/...``).
*environment* is a digest of the CPU, as far as compiled code depends on it, and of the versions of
Python, numba, llvmlite and numpy. *sources* is one of all modules with compiled code and of what
they import: numba itself looks at a function's own file only, and would go on using code into
which an older version of another file's function, or constant, is compiled.

Standard library only.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

#: Where compiled functions are defined; they use names of these packages and of libraries only.
PACKAGES = (
    "kernels",
    "kernels/exact",
    "kernels/exact/rounds",
    "kernels/mesh",
    "kernels/overlap",
    "sample",
)
#: CPU seconds that compiling everything takes (docs/compiled-code.md).
COMPILE_S = 70
#: How many functions that makes, one for each combination of types; see test_kernel_cache.
FUNCTIONS = 248

_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LIBRARIES = ("llvmlite", "numba", "numpy")
#: How archives are made; another number for another way of naming, or of keeping, what is in them.
_FORMAT = 2
#: What /proc/cpuinfo says of instructions; the first line is x86, the second ARM.
_CPU_FIELDS = {
    "vendor_id", "cpu family", "model", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",
}  # fmt: skip
#: Settings of numba that change the code it makes, apart from those of the CPU.
_NUMBA_SETTINGS = ("NUMBA_OPT", "NUMBA_BOUNDSCHECK", "NUMBA_DEBUGINFO")
_IMPORT = re.compile(r"^ *from magneton_tasks\.([\w.]+) import (?:\(([^)]*)\)|(.*))", re.MULTILINE)


def root() -> str:
    """The directory of the archives."""
    chosen = os.environ.get("MAGNETON_KERNEL_CACHE")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(os.path.join("~", ".cache"))
    return os.path.abspath(chosen or os.path.join(cache, "magneton", "kernels"))


def archive() -> str:
    """The archive for these kernels on this CPU; it may not be there."""
    sources = _digest([*module_digests().items(), _read("kernels/compiled/warm")])
    return os.path.join(root(), f"{environment()}-{sources}.zip")


def archives_here() -> list[str]:
    """All archives for this CPU and these libraries, newest first."""
    start = f"{environment()}-"
    found = []
    with (
        suppress(FileNotFoundError, NotADirectoryError, PermissionError),
        os.scandir(root()) as entries,
    ):
        for entry in entries:
            if entry.name.startswith(start) and entry.name.endswith(".zip"):
                with suppress(FileNotFoundError):
                    found.append((entry.stat().st_mtime_ns, entry.path))
    return [path for _, path in sorted(found, reverse=True)]


def is_warm() -> bool:
    """Whether there is nothing for `magneton warm` to do."""
    return not compiles() or os.path.exists(archive())


def compiles() -> bool:
    """Whether numba compiles at all."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def environment() -> str:
    """What compiled code depends on besides the sources, as 16 hexadecimal digits."""
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for library in _LIBRARIES:
        try:
            versions.append(version(library))
        except PackageNotFoundError:
            versions.append("none")
    settings = [os.environ.get(name, "") for name in _NUMBA_SETTINGS]
    return _digest([_FORMAT, sys.version, *versions, *cpu(), *settings])


def cpu() -> list[str]:
    """The CPU that numba compiles for: ``NUMBA_CPU_NAME``, or that of this machine."""
    features = os.environ.get("NUMBA_CPU_FEATURES", "")
    name = os.environ.get("NUMBA_CPU_NAME")
    machine = os.uname().machine
    if name:
        return [machine, name, features]
    found = [machine, features]
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                field, _, value = line.partition(":")
                if field.strip() in _CPU_FIELDS:
                    found.append(" ".join(sorted(value.split())))
                elif not line.strip():
                    break  # the next core
    except OSError:
        found.append(os.uname().nodename)  # not Linux: each machine for itself
    return found


@cache
def module_digests() -> dict[str, str]:
    """Digest of each module with compiled code, and of all that it imports from `PACKAGES`.

    Keys are such as ``kernels/exact/join``.
    """
    names = [
        f"{package}/{name.removesuffix('.py')}"
        for package in PACKAGES
        for name in sorted(os.listdir(folder(package)))
        if name.endswith(".py")
    ]
    texts = {name: _read(name) for name in names}
    imports = {name: [m for m in _imports(text) if m in texts] for name, text in texts.items()}
    found = {}
    for name in names:
        if "@njit" in texts[name]:
            reached = {name}
            waiting = [name]
            while waiting:
                more = set(imports[waiting.pop()]) - reached
                reached |= more
                waiting += more
            found[name] = _digest([(m, texts[m]) for m in sorted(reached)])
    return found


def _imports(text: str) -> Iterator[str]:
    for dotted, several, one in _IMPORT.findall(text):
        path = dotted.replace(".", "/")
        yield path
        yield from (f"{path}/{name}" for name in re.findall(r"\w+", several or one))


def _read(module: str) -> str:
    with open(os.path.join(_HERE, *module.split("/")) + ".py", encoding="utf-8") as file:
        return file.read()


def _digest(parts: object) -> str:
    from hashlib import sha256

    return sha256(repr(parts).encode()).hexdigest()[:16]


def folder(package: str) -> str:
    """Where the sources of a package are."""
    return os.path.join(_HERE, *package.split("/"))
