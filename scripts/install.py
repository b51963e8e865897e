"""Installs the project into the environment of the Python that runs this, and shows how far it is.

``python -m scripts.install EXTRAS [UV]``: EXTRAS such as ``compute,view``; UV a program. Where there is
none, its wheel comes first, because it is much faster than pip. Where it has no wheel, or fails, pip does it.
``--wheel`` makes the project's wheel, ``--venv DIR`` an environment; ``--can`` says whether there is a pip for this one.
``scripts/bootstrap.sh`` calls this; standard library only.
"""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from magneton_tasks.base.signs import EVERY_S
from scripts import watched

ROOT = Path(__file__).resolve().parents[1]
#: What pip is told in its config or in PIP_..., by uv's names: uv reads neither.
_AS_PIP = {
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY",
}  # fmt: skip
_CONSTRAINTS = ("-c", "constraints.txt")


def main(arguments: Sequence[str]) -> int:
    """Install; the exit code."""
    os.chdir(ROOT)
    if arguments[0] == "--venv":
        return make_venv(Path(arguments[1]))
    if arguments[0] == "--can":
        return 0 if pip() else 1
    if Path(sys.prefix).resolve() != ROOT / ".venv":
        print(f"{sys.prefix} isn't the project's own environment: make venv", file=sys.stderr)
        return 78
    extras, uv = arguments[0], arguments[1] if len(arguments) > 1 else ""
    if extras == "--wheel":
        return make_wheel(uv or own_uv(_packages()))
    marker, packages = Path(sys.prefix, ".installing"), _packages()
    if marker.exists():
        for name in forget_broken(packages):
            print(f"{name} was being installed when it was interrupted; it is installed again")
    marker.touch()
    try:
        code = install(extras, uv or own_uv(packages), packages)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues", file=sys.stderr)
        return 130
    if code == 0:
        marker.unlink()
    return code


def make_venv(folder: Path) -> int:
    """An environment of this Python; without a pip where Debian keeps that in a package of its own."""
    without = () if find_spec("ensurepip") else ("--without-pip",)
    return run([sys.executable, "-m", "venv", *without, str(folder)], folder)


def make_wheel(uv: str) -> int:
    """The project's wheel, in ``dist/``."""
    if uv:
        command = [uv, "build", "--wheel", "--out-dir", "dist"]
        return run(command, _packages(), uv_environ(os.environ, pip_settings))
    return run([*pip(), "wheel", "--no-deps", "--wheel-dir", "dist", "."], _packages())


def own_uv(packages: Path) -> str:
    """The uv of this environment, installed where its wheel is to be had; empty: there is none."""
    uv = Path(sys.prefix, "bin", "uv")
    if not uv.is_file():
        print("fetching uv, which installs faster than pip", flush=True)
        quick = ("--quiet", "--only-binary=uv", *_CONSTRAINTS, "uv")
        if run([*pip(), "install", *quick], packages) != 0:
            return ""
    return str(uv)


def install(extras: str, uv: str, packages: Path) -> int:
    """By uv where there is one, else, or where that fails, by pip; the exit code."""
    what = (*_CONSTRAINTS, "-e", f".[{extras}]")
    print(f"installing magneton[{extras}]", flush=True)
    if uv:
        command = [uv, "pip", "install", "--python", sys.executable, *what]
        if run(command, packages, uv_environ(os.environ, pip_settings)) == 0:
            return 0
        print("uv couldn't; pip is tried", flush=True)
    if not pip():
        print("there is no pip here", file=sys.stderr)
        return 1
    return run([*pip(), "install", *what], packages)


def pip() -> list[str]:
    """Pip's command for this environment: its own pip, or that of the Python that made it."""
    own = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if find_spec("pip") is not None:
        return own
    base = str(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))
    test = [base, "-m", "pip", "--version"]
    with suppress(OSError):
        if subprocess.run(test, capture_output=True, check=False).returncode == 0:
            return [base, *own[1:], "--python", sys.executable]
    return []


# ------------------------------------------------------------------ running
def run(
    command: Sequence[str],
    packages: Path,
    environ: Mapping[str, str] | None = None,
    every_s: float = EVERY_S,
) -> int:
    """Run a command, with the packages that are there as signs of life; its exit code."""
    return watched.run(
        command,
        lambda seconds: f"    {seconds:.0f} s; {_count(packages)} packages are there",
        environ,
        every_s,
    )


# ------------------------------------------------------------------ what is there
def _packages() -> Path:
    """Where the packages of this environment are."""
    return Path(sysconfig.get_path("purelib"))


def _count(packages: Path) -> int:
    return sum(name.endswith(".dist-info") for name in os.listdir(packages))


def forget_broken(packages: Path) -> Iterable[str]:
    """Remove the metadata of each package of which a file isn't there, or not whole; their names.

    What was killed leaves such: an installer that finds metadata takes the package for installed.
    """
    for about in sorted(packages.glob("*.dist-info")):
        if not _is_whole(packages, about):
            shutil.rmtree(about)
            yield about.name.removesuffix(".dist-info")


def _is_whole(packages: Path, about: Path) -> bool:
    """Whether all files are there that its RECORD lists, in the sizes that it lists."""
    if not (about / "METADATA").is_file():
        return False
    try:
        with (about / "RECORD").open(newline="") as record:
            rows = [row for row in csv.reader(record) if len(row) == 3]
    except OSError:
        return False
    for name, _, size in rows:
        try:
            found = (packages / name).stat().st_size
        except OSError:
            return False
        if size and found != int(size):
            return False
    return True


# ------------------------------------------------------------------ uv as pip is
def pip_settings() -> dict[str, str]:
    """What pip was told here, by the names of its options; empty where there is no pip."""
    if not (command := pip()):
        return {}
    listed = subprocess.run(
        [*command, "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = {}
    for line in listed.splitlines():  # global.index-url='...'; those of PIP_... come last
        name, _, value = line.partition("=")
        with suppress(ValueError):
            found[name.rpartition(".")[2]] = (
                " ".join(shlex.split(value)).replace("\\n", " ").strip()
            )
    return found


def uv_environ(
    environ: Mapping[str, str], pip_says: Callable[[], Mapping[str, str]]
) -> dict[str, str]:
    """The environment for uv: it looks where pip would, and trusts what pip would.

    Settings of uv's own stay as they are.
    """
    made = {"UV_SYSTEM_CERTS": "1"}  # many institutes have certificates of their own
    if not any(name.startswith("UV_") and "INDEX" in name for name in environ):
        told = {
            _AS_PIP[name]: value for name, value in pip_says().items() if value and name in _AS_PIP
        }
        made |= told
        if "UV_INDEX" in told:
            made["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip takes the best of all
    return {**made, **environ}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
