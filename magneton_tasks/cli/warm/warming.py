"""``magneton warm``: compile all that numba compiles, and keep it for the processes to come."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import click

from magneton_tasks.base import files
from magneton_tasks.base.signs import Signs
from magneton_tasks.base.units import human_bytes, several
from magneton_tasks.errors import EXIT_OK, EXIT_TEMPORARY
from magneton_tasks.kernels.compiled import archives as kernel_archives
from magneton_tasks.kernels.compiled import cache as kernel_cache

#: Archives for one CPU that are kept: those of other installations, or of kernels before an edit.
KEPT = 4


def check() -> int:
    """Say whether there is nothing to do; returns the exit code."""
    path = Path(kernel_archives.archive())
    if not kernel_archives.compiles():
        click.echo("nothing is compiled: NUMBA_DISABLE_JIT is set")
    elif not _is_whole(path):
        click.echo(f"cold: there is no {path}")
        return EXIT_TEMPORARY
    else:
        click.echo(f"warm: {path}")
    return EXIT_OK


def warm() -> int:
    """Compile what isn't compiled yet; returns the exit code.

    Raises
    ------
    OutputError
        The archive can't be written.
    """
    path = Path(kernel_archives.archive())
    if not kernel_archives.compiles() or _is_whole(path):
        return check()
    files.make_directory(path.parent)  # whether it can be written is told before, not after
    began, cpu_began = time.monotonic(), time.process_time()
    kernel_cache.talks = False
    progress = _Progress(began)
    kernel_cache.on_compiled = progress.one
    with Signs(progress.words):
        _compile()
    kernel_cache.on_compiled = None
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
    compiled = len(kernel_cache.compiled_here())
    if _is_whole(path):  # another one was faster
        return check()
    packed = _pack(compiled, cpu_s)
    files.write_atomic(path, packed, mode=0o444)
    _remove_old()
    click.echo(
        f"compiled {compiled} functions in {took_s:.0f} s ({cpu_s:.0f} CPU s); {human_bytes(len(packed))} in {path}"
    )
    return EXIT_OK


class _Progress:
    """How far compiling is."""

    def __init__(self, began: float) -> None:
        self._began, self._count = began, 0
        self._expected = kernel_archives.FUNCTIONS - kernel_cache.known()

    def one(self) -> None:
        """One more function is compiled."""
        self._count += 1

    def words(self, _: float) -> str:
        """How many functions of how many, in which time."""
        done = several(self._count, "function")
        if self._expected > self._count:
            done = f"{self._count} of about {several(self._expected, 'function')}"
        return f"compiled {done}, {time.monotonic() - self._began:.0f} s"


def _compile() -> None:
    from magneton_tasks.kernels.compiled.warm import compile_all
    from magneton_tasks.sample.volume import MIN_SHAPE, make_sample

    compile_all()
    make_sample(MIN_SHAPE)


def _pack(compiled: int, cpu_s: float) -> bytes:
    """The archive of this process's compiled code; not compressed, as it is read far more often."""
    content = io.BytesIO()
    about = {
        "modules": kernel_archives.module_digests(), "cpu": kernel_archives.cpu(),
        "compiled": compiled, "cpu_s": round(cpu_s, 1),
    }  # fmt: skip
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr(kernel_cache.ABOUT, json.dumps(about))
        for name, code in kernel_cache.everything().items():
            packed.writestr(name, code)
    return content.getvalue()


def _is_whole(path: Path) -> bool:
    """Whether an archive is there, and undamaged."""
    try:
        with zipfile.ZipFile(path) as packed:
            return packed.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _remove_old() -> None:
    for path in kernel_archives.archives_here()[KEPT:]:
        with suppress(OSError):
            os.unlink(path)
