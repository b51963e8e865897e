"""A PostgreSQL of our own, for tests and benchmarks: on loopback, gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from magneton_tasks.airflow.service.ports import free_ports

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL that runs.

    Attributes
    ----------
    address
        Of an empty database, with the password of the user that owns it.
    folder
        Holds its socket, by which its administrator gets in without a password.
    """

    address: str
    folder: Path

    @property
    def port(self) -> str:
        return str(urlsplit(self.address).port)

    def stop(self) -> None:
        """End it with all sessions; its data stay."""
        subprocess.run([str(HERE / "postgres_down.sh"), str(self.folder)], check=True)

    def start(self) -> None:
        """As it was before `stop`."""
        _up(self.folder, self.port, str(urlsplit(self.address).password))


def _up(folder: Path, port: str, password: str) -> str:
    done = subprocess.run(
        [str(HERE / "postgres_up.sh"), str(folder), port],
        env={**os.environ, "PGPASSWORD": password},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()[-1]


@contextmanager
def postgres() -> Iterator[Server]:
    """A server that runs meanwhile.

    Raises
    ------
    RuntimeError
        It can't be started; with what the script says.
    """
    # In a directory that the server's own user reaches; pytest's are for this user alone.
    folder = Path(tempfile.mkdtemp(prefix="magneton-postgres-"))
    folder.chmod(0o755)
    try:
        port = str(free_ports("postgres")["postgres"])
        yield Server(_up(folder, port, secrets.token_hex(16)), folder)
    finally:
        subprocess.run([str(HERE / "postgres_down.sh"), str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
