"""Magneton from Python: `segment`, `cut` and `open`; see docs/python.md.

This package only shows what `magneton_tasks.api` has, and loads it when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from magneton_tasks import __version__

if TYPE_CHECKING:
    from magneton_tasks.api.segmenting import segment
    from magneton_tasks.api.tree import MergeTree, cut
    from magneton_tasks.api.volume import Volume
    from magneton_tasks.api.volume import open_config as open  # noqa: A004 (magneton.open)
    from magneton_tasks.errors import MagnetonError

__all__ = ["MagnetonError", "MergeTree", "Volume", "__version__", "cut", "open", "segment"]

#: Where each name comes from; read at its first use, for these modules are heavy.
_FROM = {
    "MagnetonError": ("magneton_tasks.errors", "MagnetonError"),
    "MergeTree": ("magneton_tasks.api.tree", "MergeTree"),
    "Volume": ("magneton_tasks.api.volume", "Volume"),
    "cut": ("magneton_tasks.api.tree", "cut"),
    "open": ("magneton_tasks.api.volume", "open_config"),
    "segment": ("magneton_tasks.api.segmenting", "segment"),
}


if not TYPE_CHECKING:  # else every name would pass for one of ours

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _FROM:
            raise AttributeError(f"module 'magneton' has no attribute {name!r}")
        module, attribute = _FROM[name]
        found = globals()[name] = getattr(import_module(module), attribute)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
