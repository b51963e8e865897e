"""What in a work directory is known to be ours: names, folder by folder.

Only what stands here is ever removed, and only in a directory that bears our marker. All else is
somebody's: a file that a person put there, a link, another file system.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.stage_table import CHOICE_OF, ROUNDS, SECTIONS
from magneton_tasks.work.paths import MARK, WorkPaths

_HEX = "[0-9a-f]{16}"
#: as `base.files.unique_suffix`
_SUFFIX = r"[A-Za-z0-9_.]+-\d+-[0-9a-f]{8}"
_SPAN = r"-?\d+--?\d+"

#: stages that leave nothing but records
_PLAIN = "|".join(
    s for s in CHOICE_OF if s not in ("segment", "count", "faces", *ROUNDS, "pool", "cut")
)
#: join: of releases before
STAGE_DIR = re.compile(f"(segment|count|join|faces|rounds|pool|cut|{_PLAIN})-{_HEX}")
TRY_DIR = re.compile(f"try-{_HEX}")
#: What is on its way out; see `clean.remove`.
TRASH_DIR = re.compile(rf"\.clean-{_SUFFIX}")
_LAYERS_DIR = re.compile(rf"\.layers\.{_SUFFIX}\.tmp")
_PROBE = re.compile(rf"\.magneton-probe-{_SUFFIX}")


@dataclass(frozen=True)
class Folder:
    """Names that are ours in one folder: regular expressions of whole names."""

    files: str = r"(?!)"
    folders: Mapping[str, Folder] = field(default_factory=dict)

    def has_file(self, name: str) -> bool:
        """Whether a regular file of this name is ours; our temporaries are, in each folder of ours."""
        return re.fullmatch(self.files, name) is not None or is_temporary(name)

    def folder(self, name: str) -> Folder | None:
        """What is ours in a folder of this name; None where the folder isn't."""
        for pattern, folder in self.folders.items():
            if re.fullmatch(pattern, name):
                return folder
        return None


def is_temporary(name: str) -> bool:
    """Whether a name is that of a file (or a folder of layers) that is being written."""
    return name.startswith(".") and (files.is_temporary(name) or _PROBE.fullmatch(name) is not None)


_RECORDS = Folder(rf"compact-\d+\.jsonl|.+-[a-z_]+\d?--?\d+-\d+-{_SUFFIX}\.jsonl")
_LAYER = Folder(r"info|magneton\.json", {r"[\d._]+": Folder(rf"{_SPAN}_{_SPAN}_{_SPAN}(\.gz)?")})
_THRESHOLD = r"[01](\.\d+)?"
_TASK = r"[a-z_]+\d?(-\d+)?"
_RESULTS = Folder(r"[a-z_]+\d?(-\d+)*\.json")
_GROUPS = Folder(r"[a-z]+\d*\.json")
_REPORT = r"report\.json|report\.html|preview\.png|objects-3d\.(bin|png)|scores\.json"
#: what one of several thresholds has for itself
_CUT = Folder(
    _REPORT,
    {
        "results": _RESULTS,
        "groups": _GROUPS,
        "failed": Folder(r"[a-z_]+(-\d+)*"),
        "logs": Folder(r"[a-z_]+(-blocks?)(-\d+)*\.log"),
    },
)
_ATTEMPT = Folder(
    rf"config\.yaml|plan\.json|settled\.json|gathering|{_REPORT}",
    {
        "results": _RESULTS,
        "groups": _GROUPS,
        "at": Folder(folders={_THRESHOLD: _CUT}),
        "logs": Folder(
            r"[a-z_]+\d?(-blocks?)?(-\d+)*\.log",
            {"slurm": Folder(rf"{_TASK}\.log", {_TASK: Folder(r"\d+_\d+\.log")})},
        ),
        "slurm": Folder(
            r"(limits|usage|gathered)\.json",
            {
                "slots": Folder(r"\d+"),
                "halts": Folder(_TASK),
                _TASK: Folder(r"owner|cancelled|jobs\.json|job-\d+\.sh"),
            },
        ),
    },
)
#: exact: what blocks (of releases before: groups of blocks, too) leave open
_RESIDUALS = Folder(folders={r"\d{4,}": Folder(r"\d+\.zip")})
_FOLDERS: dict[str, Folder] = {
    f"segment-{_HEX}": Folder(
        folders={
            "records": _RECORDS,
            r"labels\.zarr": Folder(
                r"zarr\.json",
                {"c": Folder(folders={r"\d+": Folder(folders={r"\d+": Folder(r"\d+")})})},
            ),
            # of overlap; exact: of releases before
            "sizes": Folder(folders={r"\d{4,}": Folder(r"\d+\.npy")}),
            "residuals": _RESIDUALS,
        },
        files=rf"supervoxels-{_SUFFIX}\.slices",
    ),
    f"faces-{_HEX}": Folder(rf"faces-{_SUFFIX}\.slices", {"records": _RECORDS}),
    f"rounds-{_HEX}": Folder(
        folders={
            r"\d+": Folder(
                rf"plan-{_HEX}\.json|(names|sent)-{_SUFFIX}\.slices", {"records": _RECORDS}
            )
        }
    ),
    f"cut-{_HEX}": Folder(rf"cut-{_SUFFIX}\.slices", {"records": _RECORDS}),
    f"count-{_HEX}": Folder(rf"(pairs|contacts|sizes)-{_SUFFIX}\.parquet", {"records": _RECORDS}),
    f"join-{_HEX}": Folder(
        folders={r"level-\d": Folder(folders={"records": _RECORDS, "residuals": _RESIDUALS})}
    ),
    f"pool-{_HEX}": Folder(
        r"report\.json",
        {
            "records": _RECORDS,
            "tables": Folder(folders={_HEX: Folder(r"pool-\d+-\d+\.parquet")}),
        },
    ),
    f"apply-{_HEX}": Folder(
        folders={"records": _RECORDS, "objects": Folder(r"\d+\.slices")},
    ),
    f"({'|'.join(SECTIONS)})-{_HEX}": Folder(
        folders={"records": _RECORDS, "cells": Folder(r"\d+\.pieces")}
    ),
    f"({'|'.join(SECTIONS)})_shards-{_HEX}": Folder(
        r"\d+\.shard", {"records": _RECORDS, "objects": Folder(r"\d+\.slices")}
    ),
    f"({_PLAIN})-{_HEX}": Folder(folders={"records": _RECORDS}),
    f"try-{_HEX}": Folder(
        r"try\.json",
        {_THRESHOLD: _LAYER, _LAYERS_DIR.pattern: Folder(folders={_THRESHOLD: _LAYER})},
    ),
    "runs": Folder(folders={r"[A-Za-z0-9_-][A-Za-z0-9._-]*": Folder(folders={r"\d+": _ATTEMPT})}),
}
#: A folder of what is on its way out looks like the work directory, without files of its own.
TRASH = Folder(folders=_FOLDERS)
WORK = Folder(
    r"magneton\.json|samples\.json|thresholds\.json|freed\.json|lease|lease\.breaking",
    {**_FOLDERS, TRASH_DIR.pattern: TRASH},
)


def folder_of(relative: str) -> Folder | None:
    """What is ours in a folder of the work directory, by its path there; None: it isn't ours."""
    folder: Folder | None = WORK
    for name in Path(relative).parts:
        folder = folder.folder(name) if folder is not None else None
    return folder


def require_marker(work: WorkPaths) -> None:
    """Refuse a directory that doesn't bear our marker (an output has one too, but says so).

    Raises
    ------
    ConfigError
        It isn't a work directory.
    """
    try:
        is_file = stat.S_ISREG(os.stat(work.marker, follow_symlinks=False).st_mode)
        content = json.loads(work.marker.read_bytes()) if is_file else None
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict) or content.get("magneton") != MARK:
        raise ConfigError(
            f"{work.work} isn't a work directory of Magneton: it has no magneton.json that says so",
            "check paths.work; the first run makes it, and before that there is nothing to clean",
        )
