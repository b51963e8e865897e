"""CPU time and peak memory of processes, and the rows of the table."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

MAGNETON = (sys.executable, "-m", "magneton_tasks")
ROOT = Path(__file__).resolve().parents[1]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children took."""

    cpu_s: float
    peak_bytes: int
    stdout: str


def row(
    what: str,
    measured: float | str,
    unit: str,
    *,
    most: float | None = None,
    least: float | None = None,
    ok: bool | None = None,
    **more: Any,
) -> Row:
    """One row of the table; without a demand it is only reported."""
    demanded = ""
    if most is not None and least is not None:
        demanded = f"{least:g} to {most:g}"
    elif most is not None:
        demanded = f"<= {most:g}"
    if demanded and not isinstance(measured, str):
        ok = (most is None or measured <= most) and (least is None or measured >= least)
    value = measured if isinstance(measured, str) else float(f"{measured:.4g}")
    return {"what": what, "measured": value, "unit": unit, "demanded": demanded, "ok": ok, **more}


def benchmark(name: str, full: bool) -> list[Row]:
    """The rows of one of the modules beside this one."""
    rows: list[Row] = importlib.import_module(f"benchmarks.{name}").run(full=full)
    return rows


def command(*arguments: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Usage:
    """Run a command to its end; CPU seconds and peak memory (of the largest of its processes).

    Raises
    ------
    RuntimeError
        It failed; with what it printed.
    """
    return started(*arguments, env=env, cwd=cwd)()


def started(
    *arguments: object, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> Callable[[], Usage]:
    """Start a command; what comes back waits for its end, see `command`."""
    environment = {**os.environ, **(env or {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have their modules compiled
    output = TemporaryFile()  # noqa: SIM115 (closed by wait)
    process = subprocess.Popen(
        [str(a) for a in arguments],
        stdout=output,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env=environment,
    )

    def wait() -> Usage:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with output:
            output.seek(0)
            printed = output.read().decode(errors="replace")
        if process.returncode:
            raise RuntimeError(f"{arguments}: exit code {process.returncode}\n{printed[-4000:]}")
        return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, printed)

    return wait


def magneton(*arguments: object) -> Usage:
    """Run ``magneton ...``."""
    return command(*MAGNETON, *arguments)


def python(code: str, *arguments: object) -> Usage:
    """Run a line of Python in a fresh process."""
    return command(sys.executable, "-c", code, *arguments)


def forked(work: Callable[[], Any]) -> tuple[Any, Usage]:
    """Run ``work`` in a forked child: what it returns (by way of JSON), and what the child took."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(write, json.dumps(work()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        answer = stream.read()
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"a child ended with {os.waitstatus_to_exitcode(status)}")
    spent = Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, "")
    return json.loads(answer), spent


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    cells = [("what", "measured", "unit", "demanded", "")]
    marks = {True: "ok", False: "MISSED", None: ""}
    for r in rows:
        measured = r["measured"] if isinstance(r["measured"], str) else f"{r['measured']:g}"
        cells.append((r["what"], measured, r["unit"], r["demanded"], marks[r["ok"]]))
    widths = [max(len(c[i]) for c in cells) for i in range(5)]
    return "\n".join(
        f"{c[0]:<{widths[0]}}  {c[1]:>{widths[1]}} {c[2]:<{widths[2]}}  {c[3]:>{widths[3]}}  {c[4]}".rstrip()
        for c in cells
    )
