"""What of an extra is installed here."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from magneton_tasks.errors import ConfigError, MagnetonError

#: What makes meshes and skeletons, as it is imported: the extra `mesh`.
MESHING = ("bioimage_cpp", "DracoPy")


def require_extra(
    extra: str, packages: Sequence[str], purpose: str, error: type[MagnetonError] = ConfigError
) -> None:
    """Refuse where packages of an extra aren't installed; nothing is imported.

    Parameters
    ----------
    extra
        As pyproject.toml calls it.
    packages
        What is needed of it, as it is imported.
    purpose
        What for: the subject of the message.

    Raises
    ------
    MagnetonError
        Of the class `error`; it names what is missing, and what to type.

    """
    if absent := missing(packages):
        raise error(f"{purpose} needs {', '.join(absent)}", f"pip install 'magneton[{extra}]'")


def missing(packages: Sequence[str]) -> list[str]:
    """Those that aren't installed; nothing is imported."""
    return [name for name in packages if importlib.util.find_spec(name) is None]
