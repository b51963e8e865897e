"""Whether the affinity map of a run is there yet: what a run waits for.

Airflow's triggerer asks this time and again, so it must stay light: a bucket is asked by a process
of its own, ``python -m magneton_tasks.formats.arrival URL MIP GIVEN [MARKER]``, for cloud-files costs seconds to
import.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from magneton_tasks.base.failures import bug, ours
from magneton_tasks.base.location import locate, read_file
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import BadDataError, NoInputError, TemporaryError
from magneton_tasks.formats.container import outermost
from magneton_tasks.formats.given import of_config
from magneton_tasks.formats.info import NOTHING_GIVEN, Given
from magneton_tasks.formats.metadata import check_free, read_metadata

#: Not 1, with which Python itself ends.
NOT_YET = 3


@dataclass(frozen=True, slots=True)
class Awaited:
    """What is waited for.

    Attributes
    ----------
    url, mip
        The affinity map.
    marker
        URL of the file that is written once it is complete; None: its metadata tells.
    given
        What the config says of it.
    """

    url: str
    mip: int
    marker: str | None
    given: Given = NOTHING_GIVEN

    def __post_init__(self) -> None:
        """Take what a trigger's serialisation makes of the field: a dict."""
        given: Any = self.given
        if isinstance(given, dict):
            object.__setattr__(self, "given", Given(**given))

    @classmethod
    def of(cls, config: RunConfig) -> Awaited:
        marker, url = config.wait_for_input.marker, config.paths.input
        if marker is not None and "://" not in marker and not marker.startswith("/"):
            marker = locate(url).name_of(marker)
        return cls(url, config.input.mip, marker, of_config(config))

    def __str__(self) -> str:
        return f"the marker {self.marker}" if self.marker else f"a volume at {self.url}"

    @property
    def is_remote(self) -> bool:
        """Whether it takes libraries that cost seconds to import: for a bucket, or an HDF5 file."""
        places = [locate(url).path for url in (self.url, self.marker) if url]
        return any(place is None for place in places) or (
            self.marker is None and places[0] is not None and outermost(places[0]).is_file()
        )

    def command(self) -> list[str]:
        """What asks in a process of its own."""
        given = json.dumps(asdict(self.given))
        arguments = [self.url, str(self.mip), given, *([self.marker] if self.marker else [])]
        return [sys.executable, "-m", "magneton_tasks.formats.arrival", *arguments]

    def is_there(self) -> bool:
        """Look, once. Metadata that can't be read yet, or a file that is held, may be being written.

        Raises
        ------
        ConfigError
            It can't ever be there: a mip or a scheme that doesn't exist.
        """
        try:
            if self.marker is not None:
                directory, _, name = self.marker.rpartition("/")
                return read_file(locate(directory or "/"), name) is not None
            check_free(read_metadata(self.url, self.mip, self.given))
        except (NoInputError, BadDataError, TemporaryError):
            return False
        return True


def main(argv: Sequence[str]) -> int:
    """0: it is there; `NOT_YET`; else why it can't be."""
    url, mip, given, *marker = argv
    awaited = Awaited(url, int(mip), marker[0] if marker else None, Given(**json.loads(given)))
    try:
        return 0 if awaited.is_there() else NOT_YET
    except Exception as error:
        found = ours(error) or bug(f"{type(error).__name__}: {error}")
        print(found, file=sys.stderr)
        return found.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
