"""``magneton airflow init``: the DAG files for an Airflow that the project's `make up` doesn't run."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from magneton_tasks.base import files
from magneton_tasks.config.places import CONFIGS_VARIABLE
from magneton_tasks.config.roots import ROOTS_VARIABLE
from magneton_tasks.errors import ConfigError

#: How a file of ours begins; one that doesn't is somebody else's.
MARK = '"""Written by `magneton airflow init`, which may write it again. '
#: What is written, by name: what it makes, the module, and what of that is called.
DAG_FILES = {
    "instance_segmentation.py": (
        "The DAGs of the volume configs.", "volume_dags", "globals().update(volume_dags({place}))"
    ),
    "magneton_maintenance.py": (
        "The DAG that frees disk space.", "maintenance_dag", "dag = maintenance_dag({place})"
    ),
}  # fmt: skip


def init(dags: Path, configs: Path | None) -> None:
    """Write the files, and say what else is needed.

    Raises
    ------
    ConfigError
        A file of the same name isn't ours; nothing is written then.
    OutputError
        The folder can't be written.
    """
    folder = dags.absolute()
    place = (configs or folder.parent / "configs").absolute()
    texts = {folder / name: text_of(name, place) for name in DAG_FILES}
    stale = {path: text for path, text in texts.items() if _content(path) != text}
    for path in stale:
        _check_ours(path)
    for path, text in stale.items():
        files.write_atomic(path, text.encode())
    for path in texts:
        click.echo(f"{'wrote' if path in stale else 'as it should be:'} {path}")
    click.echo(f"\nWhat else that Airflow needs:\n{_needs(place)}")


def text_of(name: str, place: Path) -> str:
    """A DAG file that takes configs from ``place`` while the variable isn't set."""
    makes, module, call = DAG_FILES[name]
    path = f"Path({str(place)!a})"
    return (
        f'{MARK}{makes}"""\n\n'
        "from pathlib import Path\n\n"
        f"from magneton_tasks.airflow.dag.{module} import {module}\n\n"
        f"# ${CONFIGS_VARIABLE} comes first.\n"
        f"{call.format(place=path)}\n"
    )


def _content(path: Path) -> str | None:
    """The text of a file; None: it isn't there, or is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        return None


def _check_ours(path: Path) -> None:
    content = _content(path)
    is_there = path.exists() or path.is_symlink()
    if is_there and (content is None or not content.startswith(MARK)):
        raise ConfigError(
            f"{path} is there, and `magneton airflow init` didn't write it; nothing was written",
            "rename it or choose another folder; if it makes Magneton's DAGs, it isn't needed beside these",
        )


def _needs(place: Path) -> str:
    """The list, with what this environment already has."""
    python = sys.executable
    is_here = "installed here" if find_spec("airflow") is not None else "not installed here"
    needs = {
        "package": f"pip install 'magneton[airflow]' into Airflow's environment ({is_here}); [compute], too, "
        "on machines where runner local works",
        "plugin": "block map, volumes, Neuroglancer: Airflow finds it by itself in that environment ([view] for Neuroglancer)",
        "configs": f"{CONFIGS_VARIABLE}={place} for all services of Airflow; the web server's pages take it from there",
        "roots": f"{ROOTS_VARIABLE}=DIR:DIR, if a run's form may name paths below these",
        "Airflow pool": f"once, and after a change of the machine: {python} -m magneton_tasks.airflow.service.pools",
        "compiled code": "magneton warm, once per kind of CPU; the first run does it otherwise",
        "a look": "magneton doctor, with AIRFLOW_HOME and AIRFLOW__... set as for Airflow",
    }
    return "\n".join(f"  {what:<14}{how}" for what, how in needs.items())
