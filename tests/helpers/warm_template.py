"""The template of `tests.helpers.warm`: imports everything, then forks a process for each request.

It also calls each compiled kernel once, so that their code is loaded.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import os
import pickle
import pkgutil
import resource
import runpy
import signal
import socket
import sys
import termios
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

import magneton_tasks
from magneton_tasks.kernels.compiled.warm import compile_all
from tests.helpers import warm
from tests.helpers.huge_pages import use_huge_pages
from tests.helpers.warm import Request, Template

#: Imported in functions by what is imported here.
LIBRARIES = ("jinja2", "matplotlib.figure", "numba", "numpy", "PIL.Image",
             "psutil", "pyarrow.compute", "pyarrow.parquet", "rich.live", "rich.table",
             "ruamel.yaml", "scipy.ndimage", "waterz", "yaml", "zarr")  # fmt: skip
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def import_all() -> None:
    """Import every module of Magneton but those of Airflow, and the libraries."""
    for found in pkgutil.walk_packages(magneton_tasks.__path__, "magneton_tasks."):
        is_program = found.name.endswith(("__main__", ".cli.template"))
        if not (found.name.startswith("magneton_tasks.airflow") or is_program):
            importlib.import_module(found.name)
    for name in LIBRARIES:
        importlib.import_module(name)


def serve(asked: socket.socket) -> None:
    """Fork what is asked for, until the other end is closed; returns in the forked process too."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    while True:
        message, fds, *_ = socket.recv_fds(asked, 64, 64)
        if not message:
            os._exit(0)
        with open(fds[0], "rb") as described:
            described.seek(0)
            request: Request = pickle.load(described)
        told, tell = os.pipe()
        middle = os.fork()
        if middle == 0:
            pid = os.fork()
            if pid:
                os.write(tell, str(pid).encode())
                os._exit(0)
            os.close(told)
            os.close(tell)
            asked.close()
            become(request, fds[1:])
        os.waitpid(middle, 0)  # from here on the process is a child of who asks
        os.close(tell)
        asked.send(os.read(told, 64))
        for fd in (told, *fds[1:]):
            os.close(fd)


def become(request: Request, fds: list[int]) -> NoReturn:
    """Be the process that is asked for."""
    while os.getppid() != request.parent:
        time.sleep(0.0005)
    if request.is_session:
        os.setsid()
    if request.has_terminal:
        fcntl.ioctl(fds[0], termios.TIOCSCTTY, 0)
    starts_none = "--run" in request.command or request.command[1:3] == warm.PROGRAMS[2]
    own = None if starts_none else _own_template(request, fds)
    _take_over(request, fds, None if own is None else own[0].fileno())
    if own is not None:
        warm.use(Template(*own))
    _run(request.command)


def _own_template(request: Request, fds: list[int]) -> tuple[socket.socket, dict[str, str]]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        here.close()
        for fd in fds:
            os.close(fd)
        serve(there)
    there.close()
    return here, warm.at_start(request.environ)


def _take_over(request: Request, fds: list[int], kept: int | None) -> None:
    """Streams, environment, directory, limits and signals of the process that is asked for."""
    numbers = [0, 1, 2, *request.inherited]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for fd in fds]  # out of the way of all numbers
    for fd, number in zip(high, numbers, strict=True):
        os.dup2(fd, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (*numbers, kept):
            with suppress(OSError):
                os.close(int(name))
    os.umask(request.umask)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environ)
    for which, limit in request.limits:
        resource.setrlimit(which, limit)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in _STOPS[1:]:
        signal.signal(number, signal.SIG_DFL)
    for ignored in request.ignored:
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin = os.fdopen(0)
    sys.stdout = _stream(1, None)
    sys.stderr = _stream(2, "backslashreplace")
    _show(request.command)


def _stream(number: int, errors: str | None) -> Any:
    """A standard stream as Python opens it."""
    is_at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    stream = os.fdopen(number, "w", errors=errors, closefd=False)
    by_line = number == 2 or stream.isatty()
    stream.reconfigure(line_buffering=by_line, write_through=is_at_once)
    return stream


def _show(command: list[str]) -> None:
    """What others see of this process is its own command, where the template's was."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    line = b"\0".join(os.fsencode(word) for word in command)[: end - begin - 1]
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)


def _run(command: list[str]) -> NoReturn:
    """Run ``PYTHON -m MODULE ...``, and end as Python does."""
    sys.orig_argv, sys.argv = command, ["-m", *command[3:]]
    sys.path[0] = os.getcwd()
    code: Any = 1
    try:
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    setproctitle.getproctitle()  # finds out where the arguments lie, which `_show` changes
    gc.disable()  # nothing of this goes, and looking takes a fifth of the time
    import_all()
    compile_all()
    gc.collect()
    gc.freeze()
    use_huge_pages()
    gc.enable()
    with socket.socket(fileno=int(sys.argv[1])) as socket_of_tests:
        serve(socket_of_tests)
