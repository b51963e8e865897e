"""Where volume configs are looked for; standard library only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CONFIGS_VARIABLE = "MAGNETON_CONFIGS"


def checkout() -> Path | None:
    """The checkout that this code lies in; None where it was installed without one."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "dags" / "instance_segmentation.py").is_file() else None


def configs_or(default: Path, environ: Mapping[str, str] = os.environ) -> str:
    """``$MAGNETON_CONFIGS``; ``default`` where that isn't set."""
    return environ.get(CONFIGS_VARIABLE) or str(default)


def configs_places(root: Path, environ: Mapping[str, str] = os.environ) -> str:
    """``$MAGNETON_CONFIGS``, or the project's ``configs/`` and its sample, where it was made."""
    given = environ.get(CONFIGS_VARIABLE)
    if given:
        return os.pathsep.join(
            str(Path(place).absolute()) for place in given.split(os.pathsep) if place
        )
    places = [root / "configs"]
    sample = root / "sample" / "volume.yaml"
    if sample.is_file():
        places.append(sample)
    return os.pathsep.join(map(str, places))


def menu_places(here: Path, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Directories and files in which the menu looks: those of Airflow, and ``configs/`` of ``here``."""
    root = checkout()
    found = []
    if root is not None or environ.get(CONFIGS_VARIABLE):
        found = configs_places(root or here, environ).split(os.pathsep)
    places = [*map(Path, found), here / "configs"]
    return [p for p in dict.fromkeys(places) if p.exists()]
