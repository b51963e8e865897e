"""A PostgreSQL of our own, for tests and benchmarks: on loopback, gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def postgres() -> Iterator[str]:
    """Address of an empty database on a server that runs meanwhile.

    Raises
    ------
    RuntimeError
        It can't be started; with what the script says.
    """
    # In a directory that the server's own user reaches; pytest's are for this user alone.
    folder = Path(tempfile.mkdtemp(prefix="magneton-postgres-"))
    folder.chmod(0o755)
    command = [str(HERE / "postgres_up.sh"), str(folder), str(_free_port())]
    environ = {**os.environ, "PGPASSWORD": secrets.token_hex(16)}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        yield done.stdout.splitlines()[-1]
    finally:
        subprocess.run([str(HERE / "postgres_down.sh"), str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
