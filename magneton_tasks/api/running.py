"""`magneton run` as a process of its own, as a program starts it: told line by line, stopped by Ctrl-C.

A notebook has threads, and perhaps gigabytes; the pipeline forks. So it doesn't run in there.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from magneton_tasks.errors import EXIT_OK, EXIT_TEMPORARY, MagnetonError
from magneton_tasks.work.events import EVENTS_VARIABLE, Told, read


def run_and_tell(command: Sequence[str], *, quiet: bool) -> None:
    """Run a command of ours to its end.

    Raises
    ------
    MagnetonError
        It failed: its message, and the class of its exit code.
    KeyboardInterrupt
        Ctrl-C: the command was asked to stop, and has ended.
    """
    told = Told()
    with subprocess.Popen(
        command,
        env={**os.environ, EVENTS_VARIABLE: "1", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches it once, by way of this process
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                for text in told.take(read(line.rstrip("\n"))):
                    if not quiet:
                        print(text, flush=True)
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.stdout.read()  # so that it can say what it says to its end
            process.wait()
            raise
    if code != EXIT_OK:
        raise _error(code, told)


def _error(code: int, told: Told) -> MagnetonError:
    """What the command ended with, as the error that it was."""
    code = code if code > 0 else EXIT_TEMPORARY
    kinds = (kind for kind in MagnetonError.__subclasses__() if kind.exit_code == code)
    kind = next(kinds, MagnetonError)
    if told.refused is not None:
        return kind.ended_with(code, told.refused.what, told.refused.hint)
    return kind.ended_with(code, "the run failed:\n" + "\n".join(told.last))
