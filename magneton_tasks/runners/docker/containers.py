"""What a container of a stage is: its name, labels, mounts, user, network and limits.

Pure functions from a config to the engine's own words; nothing here talks to an engine. Paths stand
in structures, never in ``a:b`` texts, so that they may hold any character.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from magneton_tasks.base.location import locate
from magneton_tasks.base.worker_env import MEMORY_VARIABLE
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.roots import ROOTS_VARIABLE
from magneton_tasks.config.types import THRESHOLD
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.container import outermost
from magneton_tasks.work.events import EVENTS_VARIABLE
from magneton_tasks.work.paths import task_title
from magneton_tasks.work.record_writer import IMAGE_VARIABLE

LABEL = "magneton."
#: Labels that all containers have.
WORK, RUN, ATTEMPT, STAGE, BATCH = (LABEL + n for n in ("work", "run", "attempt", "stage", "batch"))
#: Size of a container's /tmp, which counts as its memory.
_TMP = "rw,nosuid,nodev,size=64m,mode=1777"
#: What a variable of these names points to is mounted too, where it's passed on.
_FILE_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE")
#: Directories of credentials, and the variables that tell the libraries where they are.
_HOMES = {".cloudvolume": "CLOUD_VOLUME_DIR", ".cloudfiles": "CLOUD_FILES_DIR"}


@dataclass(frozen=True, slots=True)
class Task:
    """What one container does: a command of ours, and which run it belongs to.

    Attributes
    ----------
    volume
        For people: the name of the volume config.
    arguments
        What follows ``magneton`` on the command line.
    retry
        Number of this try, from 1.
    """

    volume: str
    work: str
    run: str
    attempt: int
    stage: str
    batch: int | None
    arguments: tuple[str, ...]
    retry: int = 1

    @property
    def labels(self) -> dict[str, str]:
        """By which its container, and those of its earlier tries, are found."""
        return self.key | {LABEL + "volume": self.volume, LABEL + "try": str(self.retry)}

    @property
    def key(self) -> dict[str, str]:
        """The labels that all tries of this task share, and no other task has."""
        batch = "" if self.batch is None else str(self.batch)
        return {
            WORK: self.work,
            RUN: self.run,
            ATTEMPT: str(self.attempt),
            STAGE: self.stage,
            BATCH: batch,
        }

    @property
    def title(self) -> str:
        """How messages call it."""
        return task_title(self.stage, self.batch)

    @property
    def name(self) -> str:
        """``magneton-<volume>-<run>-<attempt>-<stage>-<batch>-<try>-<hash>``: readable, and unique."""
        digest = sha256("\0".join(self.key.values()).encode()).hexdigest()[:8]
        batch = [] if self.batch is None else [f"{self.batch:04d}"]
        parts = [
            self.volume[:40],
            self.run[:60],
            str(self.attempt),
            self.stage,
            *batch,
            str(self.retry),
        ]
        words = [re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.") for part in parts]
        return "-".join(["magneton", *filter(None, words), digest])


# ------------------------------------------------------------------ mounts
def mounts(config: RunConfig, *read_only: Path) -> list[dict[str, Any]]:
    """Bind mounts of a run's paths, each at the same place: only work and output may be written.

    Parameters
    ----------
    read_only
        Further paths, such as the YAML file.
    """
    paths = config.paths
    writable = {Path(paths.work), *_written(config)}
    # the metadata of a Zarr group may tell the voxel size of an array in it
    readable = {outermost(p) for p in _paths(paths.input, config.mask.path)}
    readable |= {*map(Path, config.docker.credentials), *read_only, *_pointed_to(config)}
    modes = dict.fromkeys(readable, True) | dict.fromkeys(writable, False)
    return [_bind(path, is_read_only) for path, is_read_only in sorted(modes.items())]


def _written(config: RunConfig) -> list[Path]:
    """Where outputs lie; with ``{threshold}`` in their path the folder around all that it stands for.

    Raises
    ------
    ConfigError
        That is the root of the file system.
    """
    found = []
    for path in _paths(config.paths.output):
        around = next((p for p in path.parents if THRESHOLD not in str(p)), path)
        whole = around if THRESHOLD in str(path) else path
        if whole == Path(whole.anchor):
            raise ConfigError(
                f"paths.output ({config.paths.output}): containers would have to write to all of {whole}",
                "put a folder before it, such as /data/segmentations",
            )
        found.append(whole)
    return found


def _paths(*urls: str | None) -> list[Path]:
    return [path for url in urls if url is not None and (path := locate(url).path) is not None]


def _pointed_to(config: RunConfig) -> list[Path]:
    values = (os.environ.get(n) for n in config.docker.environment if n in _FILE_VARIABLES)
    return [Path(value) for value in values if value]


def _bind(path: Path, read_only: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(path),
        "Target": str(path),
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }


def make_directories(config: RunConfig) -> None:
    """Make the directories that are mounted to be written, owned as what they lie in is.

    The engine would refuse to mount a missing one.
    """
    for path in (Path(config.paths.work), *_written(config)):
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for directory in reversed(missing):
            try:
                directory.mkdir(exist_ok=True)
                give(directory, directory.parent)
            except OSError as error:
                raise ConfigError(
                    f"{directory} can't be made: {error.strerror}",
                    "make it, owned by the user that containers should run as",
                ) from None


def give(path: Path, like: Path) -> None:
    """Let a file or directory that root made belong to whoever owns another."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


# ------------------------------------------------------------------ who, where, how much
def user(config: RunConfig) -> str:
    """``uid:gid`` of the work directory's owner, so that what is written is theirs."""
    owner = Path(config.paths.work).stat()
    return f"{owner.st_uid}:{owner.st_gid}"


def network(config: RunConfig) -> str:
    """No network at all where every volume is a file."""
    urls = (config.paths.input, config.paths.output, config.mask.path)
    remote = any(url is not None and locate(url).path is None for url in urls)
    return config.docker.network if remote else "none"


def environment(
    config: RunConfig, memory: int | None, image: str, own: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """A container's variables; the values of those that the config names are secrets.

    Raises
    ------
    ConfigError
        The config names a variable that the runner's own environment lacks.
    """
    missing = [name for name in config.docker.environment if name not in own]
    if missing:
        raise ConfigError(
            f"docker.environment names {', '.join(missing)}, which the runner's environment lacks",
            "set it where the runner starts (in Airflow: for its workers), or remove it there",
        )
    passed = {name: own[name] for name in config.docker.environment}
    homes = {_HOMES[Path(p).name]: p for p in config.docker.credentials if Path(p).name in _HOMES}
    roots = {ROOTS_VARIABLE: own[ROOTS_VARIABLE]} if own.get(ROOTS_VARIABLE) else {}
    limit = {MEMORY_VARIABLE: str(memory)} if memory is not None else {}
    own_variables = {IMAGE_VARIABLE: image, EVENTS_VARIABLE: "1"}
    return {**own_variables, **roots, **limit, **homes, **passed}


def specification(
    config: RunConfig,
    task: Task,
    image: str,
    memory: int | None,
    read_only: Sequence[Path] = (),
    *,
    is_limited: bool = True,
) -> dict[str, Any]:
    """What the engine is asked to create: the body of its ``POST /containers/create``.

    Parameters
    ----------
    image
        Its digest: all containers of a run are of one image, whatever its tag names by then.
    memory
        Limit in bytes, swap included; None: none.
    is_limited
        False: no CPU limit, for plan looks at the whole machine.
    """
    variables = environment(config, memory, image)
    host: dict[str, Any] = {
        "Mounts": mounts(config, *read_only),
        "NetworkMode": network(config),
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": _TMP},
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "1"}},
    }
    if memory is not None:
        host |= {"Memory": memory, "MemorySwap": memory}
    if is_limited:
        host["NanoCpus"] = round(config.docker.cpus * 1e9)
    return {
        "Image": image,
        "Cmd": list(task.arguments),
        "User": user(config),
        "WorkingDir": "/tmp",
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Labels": task.labels,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "HostConfig": host,
    }


def is_of(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a container bears all the labels wanted."""
    return all(labels.get(name) == value for name, value in wanted.items())


def others(
    containers: Iterable[Mapping[str, Any]], run: str, attempt: int
) -> list[Mapping[str, Any]]:
    """Of a volume's containers, those that aren't of this attempt."""
    ours = {RUN: run, ATTEMPT: str(attempt)}
    return [c for c in containers if not is_of(c["Labels"], ours)]
