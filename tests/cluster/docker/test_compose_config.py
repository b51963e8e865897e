"""docker/compose.yaml as compose itself reads it; no image is pulled, nothing is started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.docker,
    pytest.mark.skipif(shutil.which("docker-compose") is None, reason="compose isn't installed"),
]

FOLDER = Path(__file__).resolve().parents[3] / "docker"


def config(environ: Path, *beside: str) -> subprocess.CompletedProcess[str]:
    """What compose makes of compose.yaml, and of files beside it."""
    files = [word for name in ("compose.yaml", *beside) for word in ("-f", str(FOLDER / name))]
    command = ["docker-compose", "--env-file", str(environ), *files, "config"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def filled(tmp_path: Path, but: str = "") -> Path:
    """env.example, filled in, but for one line."""
    lines = []
    for line in (FOLDER / "env.example").read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        is_line = bool(equals) and not value and not line.startswith("#")
        lines.append(f"{name}=/data/x1" if is_line and name != but else line)
    path = tmp_path / "env"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_compose_takes_it(tmp_path: Path) -> None:
    done = config(filled(tmp_path))
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["scheduler"]["environment"]["MAGNETON_CONFIGS"] == "/data/x1"
    assert "docker.sock" in str(services["scheduler"]["volumes"])
    assert "docker.sock" not in str(services["api-server"]["volumes"])


def test_compose_takes_the_secret_of_logins_beside_it(tmp_path: Path) -> None:
    environ = filled(tmp_path)
    assert config(environ, "compose.login.yaml").returncode != 0, "LOGIN_SECRET is missing"
    environ.write_text(f"{environ.read_text()}\nLOGIN_SECRET=/data/secret\n")
    done = config(environ, "compose.login.yaml")
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    having = {n for n, s in services.items() if "/data/secret" in str(s.get("volumes"))}
    assert having == {"api-server"}
    assert "/airflow/private" in str(services["api-server"]["volumes"]), "added, not put instead"


@pytest.mark.parametrize(
    "name", ["POSTGRES_PASSWORD", "ADMIN_PASSWORD", "JWT_SECRET", "FERNET_KEY"]
)
def test_compose_refuses_to_start_without_a_password(tmp_path: Path, name: str) -> None:
    done = config(filled(tmp_path, but=name))
    assert done.returncode != 0
    assert "mandatory" in done.stderr.lower() or name in done.stderr
