"""Removes from a venv what a worker never reads, and symbols from its libraries; standard library only. `slim.py VENV`

The image's size by package is in docs/performance.md.
"""

import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

#: Under site-packages. Packages that built or test others, and parts that nothing of ours imports:
#: Arrow's RPC and second copies of a library, zstandard's second backend (for PyPy), graphs of
#: skeletons, highlighting of source text.
UNUSED = (
    "pip", "pip-*.dist-info", "setuptools", "setuptools-*.dist-info", "_distutils_hack",
    "distutils-precedence.pth", "Cython", "cython.py", "pyximport", "_pytest", "pytest", "pybind11",
    "nanobind", "pyarrow/libarrow_flight*", "pyarrow/_flight*", "pyarrow/libarrow_python_flight*",
    "pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.*.*.*", "zstandard/_cffi*",
    "networkx", "networkx-*.dist-info", "pygments", "pygments-*.dist-info",
)  # fmt: skip
#: Under the venv: pip's commands, and what DracoPy's wheel has beside its module.
BESIDE = ("bin/pip*", "bin/draco_*", "include/draco", "lib/libdraco.a")
#: Descriptions of Amazon's services: only those that reading and writing a bucket takes stay.
SERVICES = "botocore/data"
KEPT_SERVICES = ("s3", "sts", "sso", "sso-oidc", "signin")
#: Directories by name, at any depth.
FOLDERS = ("tests", "include")
#: What is under the LGPL stays as its authors built it; so does what wheels bundle, such as GCC's libquadmath.
UNTOUCHED = ("crc32c", "fastremap", "microviewer")
BUNDLED = ".libs"
#: Files by suffix: headers, sources, static libraries, type stubs.
SUFFIXES = (".h", ".hpp", ".c", ".cpp", ".pyx", ".pxd", ".pxi", ".a", ".lib", ".pyi")


def unneeded(site: Path) -> Iterator[Path]:
    """What can go."""
    for pattern in UNUSED:
        yield from site.glob(pattern)
    for path in (site / SERVICES).iterdir():
        if path.is_dir() and path.name not in KEPT_SERVICES:
            yield path
    for path in site.rglob("*"):
        if (path.is_dir() and path.name in FOLDERS) or path.suffix in SUFFIXES:
            yield path


def without_symbols(library: bytes) -> bytes:
    """A shared library up to the last byte that is loaded; anything else as it is.

    Behind that lie symbols and debug information, which many wheels have, and the table of sections,
    which linkers and debuggers read, and no loader: a fifth of all packages.
    """
    if library[:5] != b"\x7fELF\x02":  # ELF of 64 bits
        return library
    (table,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    end = table + size * count
    for at in range(table, end, size):
        begin, length = struct.unpack_from("<Q16xQ", library, at + 8)
        end = max(end, begin + length)
    head = bytearray(library[:end])
    struct.pack_into("<Q", head, 40, 0)  # no table of sections
    struct.pack_into("<HHH", head, 58, 0, 0, 0)
    return bytes(head)


def libraries(site: Path) -> Iterator[Path]:
    """Shared libraries that may be changed."""
    for path in (*site.rglob("*.so"), *site.rglob("*.so.*")):
        top = path.relative_to(site).parts[0]
        is_theirs = top.startswith(UNTOUCHED) or top.endswith(BUNDLED)
        if path.is_file() and not path.is_symlink() and not is_theirs:
            yield path


def main(venv: Path) -> None:
    (site,) = venv.glob("lib/python3*/site-packages")
    for path in [*unneeded(site), *(path for name in BESIDE for path in venv.glob(name))]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in libraries(site):
        path.write_bytes(without_symbols(path.read_bytes()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
