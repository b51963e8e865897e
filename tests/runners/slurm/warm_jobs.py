"""Real workers for the jobs of the fake cluster, forked from the template of the tests."""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.warm import at_start

CLIENT = Path(__file__).with_name("warm_python.py")


@contextmanager
def warm_jobs(home: Path) -> Iterator[Path]:
    """The ``slurm.python`` of such jobs, which works in here; ``home`` is the cluster's.

    The test has to use the fixture `warm`. What counts when Python starts is that of the template: threads
    of OpenMP, above all.
    """
    python = home / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -SI {CLIENT} "$@"\n')
    python.chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        asked.bind(f"{home}/warm")
        asked.listen()
        serving = threading.Thread(target=_serve, args=(asked,), daemon=True)
        serving.start()
        yield python
        asked.shutdown(socket.SHUT_RDWR)
        serving.join()


def _serve(asked: socket.socket) -> None:
    """Run one job after another, as the cluster does, until nobody asks any more."""
    while True:
        try:
            job, _ = asked.accept()
        except OSError:
            return
        with job:
            data, streams, *_ = socket.recv_fds(job, 1 << 18, 3)
            arguments, folder, environ = marshal.loads(data)
            counts = at_start(environ)
            environ = {k: v for k, v in environ.items() if k not in counts} | at_start(os.environ)
            done = subprocess.run(
                [sys.executable, *arguments],
                stdin=streams[0], stdout=streams[1], stderr=streams[2], env=environ, cwd=folder,
            )  # fmt: skip
            for stream in streams:
                os.close(stream)
            job.send(str(done.returncode).encode())
