"""Slurm's programs as argument lists, run here or, over ssh, on a login node.

What goes wrong is told apart: Slurm that is busy, doesn't answer or has a limit on submitted jobs
is waited for (`BusyError`); what it refuses for good is an error of the configuration.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from magneton_tasks.base.worker_env import worker_environ
from magneton_tasks.config.path_map import mapped
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.scheduler import (
    Answer,
    BusyError,
    Command,
    RefusedError,
    Shell,
    SubmitLimitError,
    run_here,
)
from magneton_tasks.runners.slurm import words

#: How long a program may take, in seconds; Slurm's own time-outs are shorter.
TIMEOUT_S = 60.0
#: What ssh ends with when the connection fails.
_SSH_FAILED = 255
#: Variables that would change what Slurm's programs do or print, where a run is started inside a job.
_FOREIGN = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_")
#: Of these, what says where Slurm is.
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
#: The indexes of a pending array in full (0), not the first 64 characters of them.
_PRINTING = {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}

_NO_ANSWER = re.compile(
    "Socket timed out|Unable to contact slurm|Connection refused|Connection reset|Connection timed out"
    "|temporarily unable|Resource temporarily unavailable|Transport endpoint|Zero Bytes were transmitted"
    "|Protocol authentication error|standby mode|Slurm controller.*(not|un)|Message (send|receive) fail",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    "MaxSubmit|MaxJobCount|job submit limit|Slurm temporarily unable to accept job", re.IGNORECASE
)
_OTHER_LIMIT = re.compile("(Assoc|QOS)(Grp|Max)(?!Submit)[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Slurm:
    """A cluster as seen from here.

    Attributes
    ----------
    host
        Login node whose programs are run over ssh; None: those of this machine.
    path_map
        Prefixes of paths here, and what they are called on the cluster; the longest counts.
    """

    host: str | None = None
    path_map: tuple[tuple[str, str], ...] = ()
    timeout_s: float = TIMEOUT_S

    @classmethod
    def of_config(cls, config: RunConfig) -> Self:
        """The cluster that a config names."""
        return cls(config.slurm.host, tuple(sorted(config.slurm.path_map.items())))

    def to_data(self) -> dict[str, Any]:
        """Plain data, of which `base.as_json.of_data` makes the same."""
        return asdict(self)

    def to_cluster(self, path: str | Path) -> str:
        """A path of this machine as the cluster calls it."""
        return mapped(str(path), self.path_map)

    # -------------------------------------------------------------- running
    def command(self, arguments: Sequence[str]) -> list[str]:
        """The argument list: as it is, or inside an ssh command, which joins it to shell text."""
        if self.host is None:
            return list(arguments)
        return [
            "ssh",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=20",
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={_sockets()}/%C",
            "-o",
            "ControlPersist=300",
            "-o",
            "ServerAliveInterval=15",
            _destination(self.host),
            "--",
            shlex.join(["env", *(f"{k}={v}" for k, v in _PRINTING.items()), *arguments]),
        ]

    def run(self, arguments: Sequence[str], stdin: str = "", shell: Shell = run_here) -> Answer:
        """Run a program to its end; ``shell`` runs it.

        Raises
        ------
        BusyError
            It took longer than ``timeout_s``, or the host can't be reached.
        ConfigError
            There is no such program.
        """
        command = Command(tuple(self.command(arguments)), stdin, environment(), self.timeout_s)
        try:
            answer = shell(command)
        except subprocess.TimeoutExpired:
            raise self._silent(arguments) from None
        except OSError as error:
            raise self._missing(arguments, error) from error
        return self._checked(arguments, answer)

    async def run_async(self, arguments: Sequence[str], stdin: str = "") -> Answer:
        """As `run`, without blocking the event loop."""
        import asyncio  # heavy; every stage imports this module, and only a loop that runs calls this

        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command(arguments),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise self._missing(arguments, error) from error
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), self.timeout_s)
        except TimeoutError:
            raise self._silent(arguments) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        answer = Answer(process.returncode or 0, _text(out), _text(err))
        return self._checked(arguments, answer)

    def _checked(self, arguments: Sequence[str], answer: Answer) -> Answer:
        if answer.code == 0:
            return answer
        if self.host is not None and answer.code == _SSH_FAILED:
            raise BusyError(
                f"ssh to {self.host} failed: {_last_line(answer.err)}",
                "check slurm.host, and that ssh works there without a password; `magneton doctor CONFIG` tries it",
            )
        if answer.code == 127 and self.host is not None:
            raise ConfigError(
                f"{arguments[0]} isn't on the PATH of {self.host}",
                "give a login node of the cluster as slurm.host",
            )
        if is_silence(answer):
            raise BusyError(
                f"{arguments[0]}: {_last_line(answer.err)}",
                "Slurm doesn't answer: try again once it does",
            )
        return answer

    def _silent(self, arguments: Sequence[str]) -> BusyError:
        return BusyError(
            f"{arguments[0]} didn't answer within {self.timeout_s:.0f} s",
            "Slurm is busy or down: try again once it answers",
        )

    def _missing(self, arguments: Sequence[str], error: OSError) -> ConfigError:
        program = arguments[0] if self.host is None else "ssh"
        return ConfigError(
            f"{program} can't be run here: {error.strerror}",
            "work on a login node of the cluster, or give one as slurm.host; `magneton doctor CONFIG` tries it",
        )


def environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of Slurm's programs: without Airflow's, nor a job's that this may run in."""
    kept = {
        k: v for k, v in worker_environ(own).items() if k in _KEPT or not k.startswith(_FOREIGN)
    }
    return {**kept, **_PRINTING}


def is_silence(answer: Answer) -> bool:
    """Whether a failure says that Slurm can't be asked now."""
    told = words.of_programs(answer.err)
    return answer.code != 0 and bool(_NO_ANSWER.search(told)) and not _is_limit(answer.err)


def submit_error(answer: Answer) -> Exception:
    """Why sbatch refused: a limit that is waited for, or what will never do."""
    said = _last_line(answer.err)
    if _is_limit(answer.err):
        return SubmitLimitError(f"sbatch: {said}", "try again once there is room")
    return RefusedError(
        f"sbatch refused: {said}",
        "check slurm.slurm_partition, account, qos, constraint, time, memory and extra_args",
    )


def _is_limit(text: str) -> bool:
    told = words.of_programs(text)
    return bool(_LIMIT.search(told)) and not _OTHER_LIMIT.search(told)


def _last_line(text: str) -> str:
    """What a program complains about, in a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines[-2:])) or "it said nothing"


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _destination(host: str) -> str:
    """What ssh takes: with a port it must be a URL."""
    return f"ssh://{host}" if ":" in host and not host.startswith("ssh://") else host


def _sockets() -> Path:
    """Where ssh keeps its connections: a directory of this user alone."""
    path = Path(tempfile.gettempdir()) / f"magneton-ssh-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    about = path.lstat()
    if about.st_uid != os.getuid() or about.st_mode & 0o077 or path.is_symlink():
        raise ConfigError(
            f"{path} must be a directory of this user alone", "remove it, or set TMPDIR"
        )
    return path
