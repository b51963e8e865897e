"""Commands that start warm (`tests.helpers.warm`) are processes like others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import psutil
import pytest

pytestmark = [
    pytest.mark.usefixtures("warm"),
    pytest.mark.skipif(sys.platform != "linux", reason="the template is Linux's"),
]

MAGNETON = [sys.executable, "-m", "magneton_tasks"]


def test_exit_codes_streams_and_the_directory_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "volume.yaml").write_text("paths: {}\n")
    command = [*MAGNETON, "config", "check", "volume.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 78 and "volume.yaml" in done.stderr and not done.stdout
    version = subprocess.run([*MAGNETON, "--version"], stdout=subprocess.PIPE, check=True)
    assert version.stdout.startswith(b"magneton, version")


def test_it_is_a_child_with_its_own_arguments_and_signals_end_it(tmp_path: Path) -> None:
    command = [*MAGNETON, "config", "new", str(tmp_path / "volume.yaml")]
    child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=60, dimensions=(7, 90))
    child.expect("Affinity map")
    process = psutil.Process(child.pid)
    assert process.ppid() == os.getpid()
    assert process.cmdline()[: len(command)] == command
    assert os.getsid(process.pid) == process.pid and child.getwinsize() == (7, 90)
    (template,) = process.children()
    child.kill(signal.SIGKILL)
    child.close()
    assert child.signalstatus == signal.SIGKILL
    template.wait(60)


def test_a_variable_that_python_reads_at_its_start_means_a_new_interpreter() -> None:
    said = {}
    for verbose in ("", "1"):
        environ = {**os.environ, "PYTHONVERBOSE": verbose}
        done = subprocess.run([*MAGNETON, "--version"], capture_output=True, env=environ)
        said[verbose] = done.stderr
    assert b"import 'site'" in said["1"] and b"import 'site'" not in said[""]
