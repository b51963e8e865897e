"""The wheel in a fresh environment, its checkout removed: as docs/ say, on the command line and in an own Airflow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from magneton_tasks.kernels.compiled import archives
from tests.e2e.newcomer import PATIENCE_S, environment
from tests.helpers.clones import clone
from tests.helpers.shell_blocks import shown_to, typed

pytestmark = pytest.mark.e2e


@dataclass(frozen=True, slots=True)
class Own:
    """Somebody's home with the environment ``em`` in it, and nothing of the project beside it."""

    home: Path
    environ: dict[str, str]

    def runs(self, *words: str | Path) -> str:
        """Run a program of the environment in the home; what it prints."""
        program = self.home / "em" / "bin" / str(words[0])
        done = subprocess.run(
            [program, *words[1:]],
            cwd=self.home,
            env=self.environ,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """After the blocks of the pages were typed in a clone, which is gone then."""
    folder = tmp_path_factory.mktemp("wheel")
    project, home = clone(folder), folder / "home"
    home.mkdir()
    given = environment(home)
    environ = {
        **given,
        # The Python of these tests, so that their compiled code is the one: the same kernels, elsewhere.
        "PATH": f"{sys.base_prefix}/bin:{given['PATH']}",
        "MAGNETON_KERNEL_CACHE": archives.root(),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    in_it = {**environ, "PATH": f"{home}/em/bin:{environ['PATH']}"}
    (wheel,) = shown_to(__file__, "command-line.md")
    (airflow,) = shown_to(__file__, "operating.md")
    made, rest = wheel.lines[:2], wheel.lines[2:]
    _type([line for _, line in made], project, environ)
    _install_dependencies(project, home / "em")
    (home / "airflow").mkdir()
    _type(["airflow db migrate"], home, in_it)
    _type([line for _, line in rest], project, environ)
    typed([airflow], project, in_it)
    shutil.rmtree(project)
    yield Own(home, in_it)
    shutil.rmtree(folder, ignore_errors=True)  # 1.3 GB, which pytest would keep


def _type(lines: list[str], cwd: Path, environ: dict[str, str]) -> None:
    command = ["bash", "-exc", "\n".join(lines)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stdout}"


def _install_dependencies(project: Path, env: Path) -> None:
    """By uv, of which the downloads are there already: pip, as typed, then has only the wheel to install."""
    uv = shutil.which("uv") or str(project / ".venv" / "bin" / "uv")
    extras: list[str | Path] = [
        word for extra in ("compute", "mesh", "view", "airflow") for word in ("--extra", extra)
    ]
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        env / "bin" / "python",
    ]
    command += ["-c", "constraints.txt", "-r", "pyproject.toml", *extras]
    code = (
        "import os, subprocess, sys; from scripts import install;"
        "sys.exit(subprocess.call(sys.argv[1:], env=install.uv_environ(os.environ, install.pip_settings)))"
    )
    python = project / ".venv" / "bin" / "python"
    subprocess.run([python, "-c", code, *command], cwd=project, check=True)


def test_a_volume_is_segmented_and_reported(own: Own) -> None:
    said = own.runs("magneton", "run", own.home / "demo" / "volume.yaml")
    assert "verified      complete" in said
    (report,) = (own.home / "demo" / "work").glob("runs/*/*/report.html")
    assert "<svg" in report.read_text() or "<canvas" in report.read_text(), "the page's template"
    where = own.runs("python", "-c", "import magneton, magneton_tasks as m; print(*m.__path__)")
    assert where.startswith(str(own.home / "em"))
    assert (Path(where.strip()).parent / "magneton" / "py.typed").is_file()


def test_its_metadata_say_what_it_is(own: Own) -> None:
    code = (
        "import json; from importlib.metadata import metadata; m = metadata('magneton');"
        "print(json.dumps({k: m.get_all(k) for k in set(m)}))"
    )
    found = json.loads(own.runs("python", "-c", code))
    assert found["Version"][0] in own.runs("magneton", "--version")
    assert found["License-Expression"] == ["BSD-3-Clause"] and found["License-File"] == ["LICENSE"]
    assert found["Description-Content-Type"] == ["text/markdown"]
    assert found["Description"][0].lstrip().startswith("# Magneton")
    assert "Typing :: Typed" in found["Classifier"]


def test_the_first_segment_says_that_it_compiles_and_how_far_it_is(own: Own) -> None:
    code = "import magneton, numpy as n; magneton.segment(n.ones((3, 8, 8, 8), n.uint8), .5)"
    child = pexpect.spawn(
        str(own.home / "em" / "bin" / "python"),
        ["-c", code],
        cwd=str(own.home),
        env={**own.environ, "MAGNETON_KERNEL_CACHE": str(own.home / "cold")},
        encoding="utf-8",
        timeout=PATIENCE_S,
    )
    child.expect(
        f"compiling Magneton's code for this CPU, once: up to {archives.COMPILE_S} CPU seconds"
    )
    for _ in range(2):
        child.expect(r"compiled \d+ of about \d+ functions, \d+ s")
    child.close(force=True)


def test_airflow_knows_the_volumes_and_the_pages(own: Own) -> None:
    configs = own.home / "configs"
    configs.mkdir()
    shutil.copy(own.home / "demo" / "volume.yaml", configs / "demo.yaml")
    said = own.runs("airflow", "dags", "list", "--local", "--output", "json")
    dags = json.loads(next(line for line in said.splitlines() if line.startswith("[{")))
    assert {Path(d["fileloc"]).name: d["dag_id"] for d in dags} == {
        "instance_segmentation.py": "instance_segmentation.demo",
        "magneton_maintenance.py": "magneton_maintenance",
    }
    assert "magneton" in own.runs("airflow", "plugins", "--output", "plain")


def test_nothing_of_the_checkout_is_missed(own: Own) -> None:
    """Doctor ends with 0 where nothing is wrong; what is odd here isn't the wheel's."""
    environ = {k: v for k, v in own.environ.items() if k != "AIRFLOW_HOME"}
    said = Own(own.home, environ).runs("magneton", "doctor", own.home / "demo" / "volume.yaml")
    assert "wrong " not in said and "make up" not in said
    assert os.fspath(own.home / "em") in said
