"""Compiled code of the kernels: an archive for each kind of CPU, and a directory for what it lacks.

numba compiles a function when it is first called. Directories of compiled code that several
processes write to at the same time have crashed elsewhere (numba#10128), so here all that processes
share is a file that nobody ever changes::

    magneton warm  -->  ROOT/<environment>-<sources>.zip    all that the kernels compile to: one file,
                                  |                         renamed into place, never written again
                                  |  read at once by each process that calls a kernel
                                  v
                        its memory: a function is loaded from there when it is first called

What a process compiles itself goes to TMP/magneton-kernels-<host>-<pid>-<random>/: a directory that
is made for the first such function, serves the processes forked from this one too, and goes with
it. A process that finds no archive for its kernels takes from an older one what is still valid, and
compiles the rest.

`jit`, where all kernels have their decorator from, asks here. Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from magneton_tasks.kernels.compiled.archives import (
    COMPILE_S,
    archive,
    archives_here,
    module_digests,
    root,
)

if TYPE_CHECKING:
    from zipfile import ZipFile

#: Whether this process says on stderr what it has to compile: commands do, a library doesn't.
talks = False
#: Called whenever this process has compiled a function.
on_compiled: Callable[[], object] | None = None
#: The file of an archive that says which modules' code it holds: {"kernels/exact/join": digest, ...}.
ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class Given:
    """What is valid of an archive.

    Attributes
    ----------
    source, packed
        Where it is, and its content in memory: it may be removed, and forked processes share no
        position in a file. None: there is none.
    modules
        Whose code is valid.
    names
        Of the functions in it.
    is_warm
        Whether that was the archive of just these kernels.
    """

    source: str = ""
    packed: ZipFile | None = None
    modules: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    is_warm: bool = False

    def get(self, name: str) -> bytes | None:
        """A function's code; None: it isn't there, or is damaged, which is told."""
        if self.packed is None or name not in self.names:
            return None
        import zipfile

        try:
            return self.packed.read(name)
        except (zipfile.BadZipFile, EOFError) as error:
            _say_damaged(self.source, error)
            return None


@dataclass(frozen=True, slots=True)
class Own:
    """The process that asked first: forked ones take what it has, and leave the removal to it.

    Attributes
    ----------
    pid, directory
        Of the process; its directory, which may not be there.
    given
        What it has from an archive.
    """

    pid: int
    directory: str
    given: Given


def find(name: str) -> bytes | None:
    """The code of a function, by `keep`'s name; None: it has to be compiled."""
    own = _own()
    found = own.given.get(name)
    if found is None:
        with suppress(FileNotFoundError), open(os.path.join(own.directory, name), "rb") as file:
            return file.read()
    return found


def keep(name: str, code: bytes) -> None:
    """Keep the code of a function, ``kernels/exact/join.name-...``, for this process and its children.

    Raises
    ------
    OSError
        The directory for temporary files can't be written to.
    """
    own = _own()
    path = os.path.join(own.directory, name)
    if not os.path.isdir(own.directory):
        _remove_left_behind(*os.path.split(own.directory))
        os.mkdir(own.directory, 0o700)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(code)
    os.replace(temporary, path)
    if on_compiled is not None:
        on_compiled()


def compiled_here() -> list[str]:
    """What this process, or one forked from it, has compiled, by the names of `keep`."""
    top = _own().directory
    return sorted(
        os.path.relpath(os.path.join(folder, name), top)
        for folder, _, names in os.walk(top)
        for name in names
    )


def known() -> int:
    """How many functions this process has from an archive."""
    return len(_given().names)


def everything() -> dict[str, bytes]:
    """All compiled code that this process has, by the names of `keep`."""
    names = {*compiled_here(), *_own().given.names}
    return {name: code for name in sorted(names) if (code := find(name)) is not None}


@cache
def _own() -> Own:
    import atexit

    parent, prefix = _temporary(), f"magneton-kernels-{os.uname().nodename}-{os.getpid()}-"
    own = Own(os.getpid(), os.path.join(parent, prefix + os.urandom(8).hex()), _given())
    atexit.register(_finish, own)
    if talks and not own.given.is_warm:
        _say_cold(own.given.modules)
    return own


def _temporary() -> str:
    import tempfile

    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # a container that can only be read
        return "/dev/shm"


@cache
def _given() -> Given:
    """What is valid of the archive for these kernels, else of the newest one."""
    import io
    import json
    import zipfile

    wanted = archive()
    for source in [wanted] if os.path.exists(wanted) else archives_here()[:1]:
        try:
            with open(source, "rb") as file:
                packed = zipfile.ZipFile(io.BytesIO(file.read()))
            digests = json.loads(packed.read(ABOUT))["modules"]
        except FileNotFoundError:
            continue  # removed just now
        except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
            _say_damaged(source, error)
            continue
        current = module_digests()
        valid = frozenset(n for n, digest in digests.items() if current.get(n) == digest)
        names = frozenset(n for n in packed.namelist() if n.partition(".")[0] in valid)
        return Given(source, packed, valid, names, source == wanted)
    return Given()


def _finish(own: Own) -> None:
    """Say what was compiled, and remove the directory, at exit."""
    if own.pid != os.getpid() or not os.path.isdir(own.directory):
        return
    import shutil

    if talks and own.given.is_warm:
        functions = sorted({n.rpartition("/")[2].rpartition("-")[0] for n in compiled_here()})
        _say(f"compiled what `magneton warm` doesn't know of: {', '.join(functions)}")
    shutil.rmtree(own.directory, ignore_errors=True)


def _remove_left_behind(parent: str, own_name: str) -> None:
    """Remove directories of this host's processes that were killed."""
    import shutil

    prefix = own_name.rsplit("-", 2)[0] + "-"
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


def _say_cold(valid: frozenset[str]) -> None:
    modules = module_digests()
    missing = len(modules.keys() - valid)
    if missing:
        _say(
            f"no compiled code of {missing} of {len(modules)} modules in {root()}: this process "
            f"compiles what it needs of them, up to {COMPILE_S * missing // len(modules)} CPU "
            "seconds; `magneton warm` does it once for all"
        )


def _say_damaged(source: str, error: Exception) -> None:
    _say(f"{source} can't be read ({error}): remove it, then run `magneton warm`")


def _say(text: str) -> None:
    print(f"magneton: {text}", file=sys.stderr, flush=True)
