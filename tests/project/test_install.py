"""The installation: signs of life, what is installed for what, and what an interruption leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from scripts import install

ROOT = Path(__file__).resolve().parents[2]
#: An installer as silent as pip can be: it says nothing until somebody writes into the pipe.
SILENT = "import sys; open(sys.argv[1]).read(); print('installed'); sys.exit(3)"
RUN = (
    "import sys; from pathlib import Path; from scripts import install;"
    "sys.exit(install.run(sys.argv[2:], Path(sys.argv[1]), every_s=0.05))"
)


@pytest.mark.parametrize("has_terminal", [True, False])
def test_a_silent_installer_shows_signs_of_life(tmp_path: Path, has_terminal: bool) -> None:
    pipe, site = tmp_path / "pipe", tmp_path / "site"
    os.mkfifo(pipe)
    for name in ("one-1.dist-info", "two-1.dist-info", "two"):
        (site / name).mkdir(parents=True)
    words = ["-c", RUN, str(site), sys.executable, "-c", SILENT, str(pipe)]
    command, words = (sys.executable, words) if has_terminal else (
        "sh", ["-c", '"$@" | cat; echo "ended"', "sh", sys.executable, *words]
    )  # fmt: skip
    child = pexpect.spawn(command, words, cwd=ROOT, encoding="utf-8", timeout=60)
    for _ in range(3):
        child.expect(r"\d+ s; 2 packages are there")
    pipe.write_text("go on")
    child.expect("installed")
    child.expect(pexpect.EOF)
    child.close()
    if has_terminal:
        assert child.exitstatus == 3, "the installer's own"


def test_a_command_is_watched_and_its_end_is_its_own() -> None:
    command = [sys.executable, "-m", "scripts.watched", "waiting", "sh", "-c", "echo said; exit 3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stdout.endswith("said\n")


# ------------------------------------------------------------------ by uv, else by pip
@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run; those whose second word is in ``fails`` end with 1."""
    ran: list[list[str]] = []

    def run(command: list[str], packages: Path, environ: object = None) -> int:
        ran.append(list(command))
        return int(command[0].endswith("uv-fails"))

    monkeypatch.setattr(install, "run", run)
    return ran


def test_uv_installs_with_our_versions(calls: list[list[str]], tmp_path: Path) -> None:
    assert install.install("compute,view", "/x/uv", tmp_path) == 0
    (command,) = calls
    assert command[:3] == ["/x/uv", "pip", "install"] and sys.executable in command
    assert command[-4:] == ["-c", "constraints.txt", "-e", ".[compute,view]"]


def test_pip_installs_the_same_where_uv_fails(calls: list[list[str]], tmp_path: Path) -> None:
    assert install.install("compute", "/x/uv-fails", tmp_path) == 0
    _, command = calls
    assert "pip" in command and "uv" not in " ".join(command)
    assert command[-4:] == ["-c", "constraints.txt", "-e", ".[compute]"]


def test_uv_looks_where_pip_would() -> None:
    told = {
        "index-url": "https://a/simple",
        "extra-index-url": "https://b https://c",
        "cert": "/ca",
    }
    made = install.uv_environ({"PATH": "/bin"}, lambda: told)
    assert made["UV_DEFAULT_INDEX"] == "https://a/simple"
    assert made["UV_INDEX"] == "https://b https://c"
    assert made["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert made["SSL_CERT_FILE"] == "/ca" and made["PATH"] == "/bin"


@pytest.mark.parametrize("name", ["UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_whoever_has_set_up_uv_keeps_that(name: str) -> None:
    made = install.uv_environ({name: "https://mine"}, lambda: {"index-url": "https://a"})
    assert made == {"UV_SYSTEM_CERTS": "1", name: "https://mine"}


# ------------------------------------------------------------------ interrupted
def test_no_other_environment_is_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".installing").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(install, "run", lambda *_: pytest.fail("nothing may be run"))
    assert install.main(["compute"]) == 78


def package(site: Path, name: str, *, record: bool = True) -> Path:
    """A package as an installer leaves it; its metadata."""
    about = site / f"{name}-1.dist-info"
    about.mkdir(parents=True)
    (site / f"{name}.py").write_text("x = 1\n")
    (about / "METADATA").write_text(f"Name: {name}\n")
    rows = f"{name}.py,sha256=x,6\n{name}.pyc,,\n{about.name}/METADATA,,\n{about.name}/RECORD,,\n"
    (site / f"{name}.pyc").touch()
    if record:
        (about / "RECORD").write_text(rows)
    return about


def test_what_an_interruption_left_half_is_installed_again(tmp_path: Path) -> None:
    whole, cut, lost = (package(tmp_path, name) for name in ("whole", "cut", "lost"))
    bare, unlisted = package(tmp_path, "bare"), package(tmp_path, "unlisted", record=False)
    (tmp_path / "cut.py").write_text("x")
    (tmp_path / "lost.py").unlink()
    (bare / "METADATA").unlink()
    assert set(install.forget_broken(tmp_path)) == {"cut-1", "lost-1", "bare-1", "unlisted-1"}
    assert whole.is_dir()
    assert not any(about.exists() for about in (cut, lost, bare, unlisted))


def test_this_environment_is_whole() -> None:
    """Or each interruption would install much again."""
    site = Path(pytest.__file__).parents[1]
    broken = [a.name for a in site.glob("*.dist-info") if not install._is_whole(site, a)]
    assert len(broken) < 3, broken


FAKE_UV = """#!/bin/sh
echo "$@" >>"$LOG"
case $1 in
--version) exit 0 ;;
venv) "$REAL" -m venv --without-pip .venv; exit 0 ;;
esac
[ ! -e "$LOG.killed" ] || exit 0
touch "$LOG.killed"
kill -9 "$PPID"
"""


@pytest.fixture
def newcomer(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with what `make venv` needs, and an environment with a uv that installs nothing."""
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "scripts",
        "magneton_tasks/base/signs.py",
    ):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "p" / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "uv").write_text(FAKE_UV)
    (programs / "uv").chmod(0o755)
    for name in ("sh", "make", "touch", "mkdir", "ln", "rm", "dirname", "flock", "cat"):
        (programs / name).symlink_to(shutil.which(name) or name)
    environ = {"PATH": str(programs), "HOME": str(tmp_path), "LOG": str(tmp_path / "log"),
               "REAL": sys.executable, "UV_INDEX": "none"}  # fmt: skip
    return tmp_path / "p", environ


def make(target: str, folder: Path, environ: dict[str, str]) -> int:
    command = [environ["PATH"] + "/make", target]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, check=False
    ).returncode


def test_an_installation_that_was_killed_is_taken_up_again(
    newcomer: tuple[Path, dict[str, str]],
) -> None:
    project, environ = newcomer
    assert make(".venv/.installed", project, environ) != 0
    assert not (project / ".venv/.installed").exists()
    (site,) = (project / ".venv/lib").glob("python*/site-packages")
    half, whole = package(site, "half"), package(site, "whole")
    (site / "half.py").unlink()
    assert make(".venv/.installed", project, environ) == 0
    assert whole.is_dir() and not half.exists()
    assert (project / ".venv/.installed").is_file()
    log = Path(environ["LOG"]).read_text()
    assert log.count("pip install") == 2
    assert make(".venv/.installed", project, environ) == 0
    assert Path(environ["LOG"]).read_text() == log, "nothing is left to do"


@pytest.mark.parametrize(
    ("target", "stamps", "extras"),
    [
        (".venv/.installed", {".installed"}, "compute,mesh,view,airflow"),
        (
            ".venv/.installed-dev",
            {".installed", ".installed-dev"},
            "compute,mesh,view,airflow,docker,dev",
        ),
    ],
)
def test_who_runs_gets_no_tests(
    newcomer: tuple[Path, dict[str, str]], target: str, stamps: set[str], extras: str
) -> None:
    project, environ = newcomer
    Path(environ["LOG"] + ".killed").touch()
    assert make(target, project, environ) == 0
    assert f"-e .[{extras}]\n" in Path(environ["LOG"]).read_text()
    assert {p.name for p in (project / ".venv").glob(".inst*")} == stamps


@pytest.mark.parametrize("target", ["run", "up", "sample", "venv", "health"])
def test_targets_of_users_need_no_tools_of_developers(target: str) -> None:
    needed = subprocess.run(
        ["make", "-n", "-B", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "bootstrap.sh compute,mesh,view,airflow\n" in needed.stdout
    assert "dev" not in needed.stdout.partition("bootstrap.sh")[2].splitlines()[0]


@pytest.mark.parametrize("target", ["test", "lint", "bench", "test-e2e"])
def test_targets_of_developers_bring_theirs(target: str) -> None:
    needed = subprocess.run(
        ["make", "-n", "-B", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "bootstrap.sh compute,mesh,view,airflow,docker,dev\n" in needed.stdout
