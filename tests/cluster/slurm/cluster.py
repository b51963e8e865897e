"""The cluster as its user and its administrator see it; ``make test-slurm`` brings it up."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from magneton_tasks.work.record import Record
from tests.helpers.tiny_volume import write_tiny_volume

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
STATE = Path(os.environ.get("SLURM_STATE", "/var/lib/magneton-slurm"))
USER = os.environ.get("SUBMITTER", "magneton-submitter")
#: What the submitting user runs; its packages are those of this clone.
PYTHON = os.environ.get("SLURM_PYTHON", sys.executable)
PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "srun")
#: Settings for which nobody waits.
QUICK = {"poll_s": 1, "max_poll_s": 2, "grace_s": 20, "memory": "800MiB", "probe": False}


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.2)


class Place:
    """A directory of the submitting user's, for one test: volumes, and Slurm's programs, counted."""

    def __init__(self, name: str = "") -> None:
        parent = STATE / "tests"
        parent.mkdir(exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix="t-", dir=parent))
        self.path.chmod(0o755)
        self._started: list[subprocess.Popen[str]] = []
        if name:
            self.path /= name
            self.path.mkdir()
        self.hold = self.path / "hold"
        #: While it is there, each program takes seconds longer.
        self.slow = self.path / "slow"
        self.calls_file = self.path / "calls"
        self.calls_file.touch()
        self.bin = self.path / "bin"
        self.bin.mkdir()
        for program in PROGRAMS:
            self._count(program)
        self.own()

    def _count(self, program: str) -> None:
        real = shutil.which(program)
        assert real is not None, f"{program} isn't installed"
        wrapper = self.bin / program
        # the file's name comes by the environment: this directory's may hold anything
        wrapper.write_text(
            "#!/bin/bash\n"
            f'printf \'%s {program} %s\\n\' "$(date +%s.%N)" "$*" >>"$(dirname "$0")/../calls"\n'
            '[ ! -e "$(dirname "$0")/../slow" ] || sleep 3\n'
            f'exec {real} "$@"\n'
        )
        wrapper.chmod(0o755)

    def own(self) -> None:
        """All of it is the submitting user's."""
        about = pwd.getpwnam(USER)
        for one in (self.path, *self.path.rglob("*")):
            os.chown(one, about.pw_uid, about.pw_gid, follow_symlinks=False)

    def remove(self) -> None:
        self.hold.unlink(missing_ok=True)
        for process in self._started:  # of a test that failed
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        cancel_all()
        while self.path.parent != STATE / "tests":
            self.path = self.path.parent
        shutil.rmtree(self.path, ignore_errors=True)

    # ------------------------------------------------------------------ volumes
    def volume(
        self,
        slurm: Mapping[str, Any] | None = None,
        more: str = "",
        name: str = "",
        method: str = "overlap",
    ) -> Path:
        """A tiny volume of 12 blocks (exact: 8) whose config offers Slurm alone; its config."""
        text = only_slurm(slurm or {}) + more
        config = write_tiny_volume(self.path / name if name else self.path, text, method)
        self.own()
        return config

    def holding(self, index: str = "*") -> list[str]:
        """Prelude that keeps jobs of segment waiting while the file `hold` is there."""
        wait = f"while [ -e {self.hold} ]; do sleep 0.2; done"
        return [in_segment(wait, index)]

    # ------------------------------------------------------------------ commands
    def environ(self) -> dict[str, str]:
        """Of the submitting user, with the counted programs first on PATH."""
        return {
            "HOME": str(STATE / "home"),
            "USER": USER,
            "LOGNAME": USER,
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``magneton WORDS`` as the submitting user."""
        process = subprocess.Popen(
            [PYTHON, "-m", "magneton_tasks", *words],
            env=self.environ(),
            cwd=self.path,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **submitter(),
        )
        self._started.append(process)
        return process

    def magneton(self, *words: str, code: int | None = 0) -> str:
        """Run ``magneton WORDS`` to its end; what it prints."""
        return finish(self.start(*words), code)

    def run(self, config: Path, *words: str, code: int | None = 0) -> str:
        """``magneton run CONFIG --runner slurm``."""
        return self.magneton("run", str(config), "--runner", "slurm", *words, code=code)

    # ------------------------------------------------------------------ what was seen
    def calls(self, program: str | None = None) -> list[str]:
        """Calls of Slurm's programs so far: time, program, arguments."""
        lines = self.calls_file.read_text().splitlines()
        return [line for line in lines if program in (None, line.split(" ", 2)[1])]

    def submissions(self, stage: str) -> list[str]:
        """Calls of sbatch for a stage."""
        return [c for c in self.calls("sbatch") if f"--job-name=magneton-{stage}" in c]

    def jobs(self) -> list[tuple[str, str, str, str]]:
        """Id, state, node and name of this place's jobs that are in the queue."""
        out = admin("squeue", "-h", "-r", "-o", "%i|%T|%N|%j|%k")
        found = [line.split("|", 4) for line in out.splitlines()]
        return [(i, t, n, j) for i, t, n, j, k in found if str(self.path) in k]

    def in_state(self, state: str, stage: str = "segment") -> list[tuple[str, str, str, str]]:
        """Those of a stage in one state."""
        return [j for j in self.jobs() if j[1] == state and j[3].startswith(f"magneton-{stage}-")]

    def records(self, stage: str = "segment") -> list[Record]:
        """All records of a stage, as they stand in the files."""
        return records_of(self.path / "work", stage)

    def count(self, state: str, stage: str = "segment") -> Counter[int]:
        """How often each block has a record of this state."""
        return Counter(r.key for r in self.records(stage) if r.state == state)


def only_slurm(settings: Mapping[str, Any]) -> str:
    """Lines of a config that offers Slurm alone; what isn't set is quick."""
    slurm = json.dumps({**QUICK, **settings})
    return f"runner: {{offered: [slurm], default: slurm}}\nslurm: {slurm}\n"


def records_of(work: Path, stage: str) -> list[Record]:
    """All records of a stage, as they stand in the files."""
    files = sorted(work.glob(f"{stage}-*/records/*.jsonl"))
    lines = [line for f in files for line in f.read_text().splitlines()]
    return [Record.from_line(line) for line in lines if line.endswith("}")]


def submitter() -> dict[str, Any]:
    """Whose process it is to be: arguments of `subprocess.Popen`."""
    about = pwd.getpwnam(USER)
    return {"user": about.pw_uid, "group": about.pw_gid, "extra_groups": ()}


def in_segment(line: str, index: str = "*") -> str:
    """Prelude for jobs of segment alone; ``index``: of those that match."""
    job = '"$SLURM_JOB_NAME/$SLURM_ARRAY_TASK_ID"'
    return f"case {job} in magneton-segment-*/{index}) {line} ;; esac"


def finish(process: subprocess.Popen[str], code: int | None = 0, timeout_s: float = 240) -> str:
    """Wait for a command; what it printed."""
    try:
        out, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        raise AssertionError(f"no end within {timeout_s:.0f} s:\n{out}") from None
    assert code is None or process.returncode == code, f"{process.returncode}:\n{out}"
    return out


# ------------------------------------------------------------------ the administrator
def admin(*words: str) -> str:
    """Run one of Slurm's programs as root."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def submit(*words: str) -> None:
    """Submit a job of the submitting user's that isn't this project's."""
    command = ("sbatch", "--output=/dev/null", *words)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=STATE / "home", **submitter()
    )
    assert done.returncode == 0, done.stderr


def bring_up(accounting: bool = True) -> None:
    """Start what isn't running; switch accounting on or off."""
    environ = {**os.environ, "ACCOUNTING": "on" if accounting else "off"}
    command = [str(HERE / "up.sh")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def cancel_all() -> None:
    """Cancel what a test left in the queue."""
    jobs = admin("squeue", "-h", "-o", "%A").split()
    if jobs:
        admin("scancel", *sorted(set(jobs)))
        wait_for(lambda: not admin("squeue", "-h").strip(), "the queue is empty", 60)


def pid_of(daemon: str) -> int:
    """Process id of ``slurmctld``, ``slurmdbd`` or ``slurmd.n2``."""
    return int((STATE / "run" / f"{daemon}.pid").read_text())


def stop_controller() -> None:
    """Stop slurmctld as an administrator would; `bring_up` starts it."""
    pid = pid_of("slurmctld")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not _lives(pid), "slurmctld ends")


def kill_node(node: str, jobs: int) -> None:
    """A node loses its power: its slurmd, and all that it runs, which is so many jobs."""
    wait_for(lambda: len(_scripts(node)) == jobs, f"{jobs} jobs have begun on {node}")
    psutil.Process(pid_of(f"slurmd.{node}")).kill()
    for script in _scripts(node):
        family = [script.parent(), script, *script.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                if process is not None:
                    process.kill()


def _scripts(node: str) -> list[psutil.Process]:
    """The jobs' own processes on a node, below a slurmstepd each."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parent = process.parent()
            is_first = parent is not None and "slurmstepd" in " ".join(parent.cmdline())
            if is_first and process.environ().get("SLURMD_NODENAME") == node:
                found.append(process)
    return found


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    return False
