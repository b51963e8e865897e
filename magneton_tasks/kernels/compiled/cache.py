"""Compiled code of the kernels: an archive for each kind of CPU, and a directory for each process.

numba compiles a function when it is first called and keeps the result in a directory. Directories
that several processes write to at the same time have crashed elsewhere (numba#10128), so here no
two processes share one::

    magneton warm  -->  ROOT/<environment>-<sources>.zip    all that the kernels compile to: one file,
                                  |                         renamed into place, never written again
                                  |  unpacked by each process that imports a kernel
                                  v
                        TMP/magneton-kernels-<host>-<pid>-<random>/     numba's directory of this process

What a process compiles itself stays in its own directory, and goes with it. A process that finds no
archive for its kernels takes from an older one what is still valid, and compiles the rest.

`prepare` must run before the first kernel is decorated: `jit`, where all of them have their
decorator from, calls it. Standard library only.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from dataclasses import dataclass

from magneton_tasks.kernels.compiled.archives import (
    COMPILE_S,
    PACKAGES,
    archive,
    archives_here,
    compiles,
    folder,
    module_digests,
    root,
)

#: Whether this process says on stderr what it has to compile: commands do, a library doesn't.
talks = False
#: The file of an archive that says which modules' code it holds: {"kernels/exact/join": digest, ...}.
ABOUT = "about.json"


@dataclass(slots=True)
class OwnDirectory:
    """numba's directory of this process.

    Attributes
    ----------
    path, owner
        Where it is, and the process that removes it: not one forked from it.
    given
        Files that came from an archive, as names in it.
    modules
        Whose code that is.
    is_warm
        Whether that was the archive of just these kernels.
    """

    path: str
    owner: int
    given: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    is_warm: bool = False


_own: OwnDirectory | None = None


def prepare() -> None:
    """Give this process a directory for compiled code, filled from the archive; once.

    Raises
    ------
    OSError
        There is no directory for temporary files.
    """
    global _own
    if _own is not None or not compiles():
        return
    import tempfile

    prefix = f"magneton-kernels-{os.uname().nodename}-"
    try:
        parent = tempfile.gettempdir()
    except FileNotFoundError:  # a container that can only be read
        parent = "/dev/shm"
    _remove_left_behind(parent, prefix)
    path = tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent)
    _own = OwnDirectory(path, os.getpid())
    atexit.register(_finish)
    os.environ["NUMBA_CACHE_DIR"] = path
    if "numba" in sys.modules:  # it has read the environment before
        sys.modules["numba"].config.CACHE_DIR = path
    wanted = archive()
    for source in [wanted] if os.path.exists(wanted) else archives_here()[:1]:
        _own.modules, _own.given = _unpack(source, path)
        _own.is_warm = source == wanted and bool(_own.given)
    if talks and not _own.is_warm:
        _say_cold(_own.modules)


def _say_cold(valid: frozenset[str]) -> None:
    modules = module_digests()
    missing = len(modules.keys() - valid)
    if missing:
        _say(
            f"no compiled code of {missing} of {len(modules)} modules in {root()}: this process "
            f"compiles what it needs of them, up to {COMPILE_S * missing // len(modules)} CPU "
            "seconds; `magneton warm` does it once for all"
        )


def compiled_here() -> list[str]:
    """What this process, or one forked from it, has compiled, as names of an archive's files."""
    if _own is None:
        return []
    return sorted(set(_files(_own.path)) - _own.given)


def own_files() -> dict[str, str]:
    """All files of compiled code that this process has: name in an archive -> path."""
    return {} if _own is None else _files(_own.path)


def _files(path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        where = os.path.join(path, _numba_name(package))
        with suppress(FileNotFoundError):
            found |= {f"{package}/{n}": os.path.join(where, n) for n in os.listdir(where)}
    return found


def _numba_name(package: str) -> str:
    """What numba calls its directory for the functions of a package."""
    from hashlib import sha1

    return f"{os.path.basename(package)}_{sha1(folder(package).encode(), usedforsecurity=False).hexdigest()}"


def _unpack(source: str, path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Unpack what is valid of an archive: whose code that is, and its files."""
    import json
    import zipfile
    import zlib

    valid, given = set(), set()
    try:
        with zipfile.ZipFile(source) as packed:
            digests = json.loads(packed.read(ABOUT))["modules"]
            current = module_digests()
            valid = {name for name, digest in digests.items() if current.get(name) == digest}
            for package in PACKAGES:
                os.mkdir(os.path.join(path, _numba_name(package)))
            for name in packed.namelist():
                package, _, file_name = name.rpartition("/")
                if name.partition(".")[0] in valid:
                    with open(os.path.join(path, _numba_name(package), file_name), "wb") as file:
                        file.write(packed.read(name))
                    given.add(name)
    except FileNotFoundError:
        pass  # removed just now
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, KeyError) as error:
        _say(f"{source} can't be read ({error}): remove it, then run `magneton warm`")
    return frozenset(valid), frozenset(given)


def _finish() -> None:
    """Remove the directory, at exit."""
    import shutil

    if _own is None or _own.owner != os.getpid():
        return
    more = [name for name in compiled_here() if name.endswith(".nbc")] if talks else []
    if more and _own.is_warm:
        functions = sorted({name.rpartition("/")[2].split("-")[0] for name in more})
        _say(f"compiled what `magneton warm` doesn't know of: {', '.join(functions)}")
    shutil.rmtree(_own.path, ignore_errors=True)


def _remove_left_behind(parent: str, prefix: str) -> None:
    """Remove directories of this host's processes that were killed."""
    import shutil

    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            pid = entry.name.removeprefix(prefix).partition("-")[0]
            if entry.name.startswith(prefix) and pid.isdigit() and not _lives(int(pid)):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        shutil.rmtree(entry.path, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _say(text: str) -> None:
    print(f"magneton: {text}", file=sys.stderr, flush=True)
