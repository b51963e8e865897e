"""Slurm's programs here and over ssh: argument lists stay whole, and errors are told apart."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from magneton_tasks.base.as_json import of_data
from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.scheduler import (
    Answer,
    BusyError,
    RefusedError,
    SubmitLimitError,
)
from magneton_tasks.runners.slurm import programs
from magneton_tasks.runners.slurm.programs import Slurm, submit_error

RECORDED = Path(__file__).parent / "recorded"
ODD = ["printf", "%s\\n", "a b", "it's", '"$(touch OWNED)"', "`id`", "x;y|z&*?", "--n=ü", ""]


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Does what sshd does: joins what comes after the host and gives it to a shell."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "at = sys.argv.index('--')\nopen(os.environ['SSH_CALLS'], 'a').write(' '.join(sys.argv[1:at]) + '\\n')\n"
        "os.execv('/bin/sh', ['sh', '-c', ' '.join(sys.argv[at + 1:])])\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("SSH_CALLS", str(tmp_path / "calls"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("host", [None, "login.example.org"])
def test_arguments_arrive_as_they_are(fake_ssh: Path, host: str | None) -> None:
    answers = (Slurm(host).run(ODD), asyncio.run(Slurm(host).run_async(ODD)))
    for answer in answers:
        assert answer.code == 0
        assert answer.out.split("\n")[:-1] == ODD[2:]
    assert not (fake_ssh / "OWNED").exists()


def test_stdin_reaches_the_program(fake_ssh: Path) -> None:
    for host in (None, "login"):
        assert Slurm(host).run(["cat"], "a\nb").out == "a\nb"
        assert asyncio.run(Slurm(host).run_async(["cat"], "a\nb")).out == "a\nb"


def test_ssh_never_asks_and_keeps_its_connection(fake_ssh: Path) -> None:
    Slurm("me@login:2222").run(["true"])
    call = (fake_ssh / "calls").read_text()
    assert "BatchMode=yes" in call and "ControlMaster=auto" in call
    assert call.split()[-1] == "ssh://me@login:2222"


@pytest.mark.parametrize("host", [None, "login"])
def test_indexes_of_arrays_are_printed_in_full(fake_ssh: Path, host: str | None) -> None:
    # else squeue cuts them, and what is cut off would look as if it had left the queue
    answer = Slurm(host).run(["sh", "-c", "echo $SLURM_BITSTR_LEN"])
    assert answer.out == "0\n"


def test_a_program_that_hangs_is_ended_and_waited_for_another_time() -> None:
    slurm = Slurm(timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(BusyError, match="didn't answer"):
        slurm.run(["sleep", "60"])
    with pytest.raises(BusyError, match="didn't answer"):
        asyncio.run(slurm.run_async(["sleep", "60"]))
    assert time.monotonic() - began < 30


def test_a_missing_program_is_an_error_of_the_config() -> None:
    with pytest.raises(ConfigError, match="squeue-of-nowhere"):
        Slurm().run(["squeue-of-nowhere"])


@pytest.mark.parametrize(
    "name", ["sbatch-slurmctld-down", "scancel-slurmctld-down", "squeue-slurmctld-down", "sacct-slurmdbd-down"]
)  # fmt: skip
def test_recorded_silence_is_waited_for(name: str) -> None:
    assert programs.is_silence(Answer(1, "", (RECORDED / f"{name}.err").read_text()))


@pytest.mark.parametrize(
    "name",
    ["sbatch-no-account", "sbatch-no-constraint", "sbatch-no-partition", "sbatch-no-qos", "sbatch-too-much-memory", "sbatch-array-too-long"],
)  # fmt: skip
def test_recorded_refusals_are_errors_of_the_config(name: str) -> None:
    answer = Answer(1, "", (RECORDED / f"{name}.err").read_text())
    assert not programs.is_silence(answer)
    assert isinstance(submit_error(answer), ConfigError)


def test_only_lines_of_slurms_programs_tell_of_silence_and_limits() -> None:
    """Over ssh a login node's own words come with them."""
    banner = "Slurm controller will not be up on Sunday; MaxSubmitJobs: 10. Connection refused\n"
    answer = Answer(1, "", banner + (RECORDED / "sbatch-no-qos.err").read_text())
    assert not programs.is_silence(answer)
    error = submit_error(answer)
    assert isinstance(error, RefusedError) and "Invalid qos" in str(error)


LIMITS = [
    (RECORDED / "sbatch-qos-limit.err").read_text(),
    # not recorded: from Slurm's documentation and sources of 23.11
    "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
]


@pytest.mark.parametrize("text", LIMITS)
def test_limits_on_submitted_jobs_are_waited_for(text: str) -> None:
    assert isinstance(submit_error(Answer(1, "", text)), SubmitLimitError)


def test_another_limit_of_a_qos_will_never_do() -> None:
    text = LIMITS[1].replace("AssocMaxSubmitJobLimit", "QOSMaxWallDurationPerJobLimit")
    assert isinstance(submit_error(Answer(1, "", text)), ConfigError)


def test_the_longest_prefix_of_a_path_is_mapped() -> None:
    slurm = Slurm(path_map=(("/mnt", "/gpfs"), ("/mnt/lab", "/lab"), ("/x", "/")))
    assert slurm.to_cluster("/mnt/lab/a") == "/lab/a"
    assert slurm.to_cluster("/mnt/laboratory") == "/gpfs/laboratory"
    assert slurm.to_cluster("/x/a") == "/a" and slurm.to_cluster("/x") == "/"
    assert slurm.to_cluster("/other") == "/other"


def test_jobs_that_this_runs_in_do_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"SLURM_JOB_ID": "1", "SBATCH_ACCOUNT": "x", "SLURM_CONF": "/etc/s", "HOME": "/h"}
    found = programs.environment(own)
    assert found["HOME"] == "/h" and found["SLURM_CONF"] == "/etc/s"
    assert "SLURM_JOB_ID" not in found and "SBATCH_ACCOUNT" not in found


def test_a_cluster_survives_a_trigger(tmp_path: Path) -> None:
    import json

    slurm = Slurm("login", (("/a", "/b"),))
    assert of_data(Slurm, json.loads(json.dumps(slurm.to_data()))) == slurm
