"""Numbers in place of names, for columns of many blocks."""

from __future__ import annotations

from collections.abc import Iterator


class Names:
    """Numbers names by the order in which they first come."""

    def __init__(self, *known: str) -> None:
        self._numbers = {name: k for k, name in enumerate(known)}

    def __call__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers)) if name else -1

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)
