"""Write THIRD_PARTY.md: every package that users install with Magneton, and its licence.

Packages under the GPL or AGPL are refused. Those under the LGPL are used as they are, by way of others:
each stands in `LESSER`. What only developers install isn't listed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parents[1] / "THIRD_PARTY.md"
#: All that users install.
EXTRAS = {"compute", "mesh", "view", "airflow", "docker", "production"}
#: What cloud-volume and cloud-files bring, and SQLAlchemy's way to PostgreSQL; nothing of ours imports them.
LESSER = {"crc32c", "fastremap", "microviewer", "psycopg2-binary"}
#: Where the metadata say nothing, or leave a choice: what the files of the licence say.
KNOWN = {
    "fpzip": "BSD-3-Clause",
    "pysimdjson": "MIT",
    "pyspng-seunglab": "BSD-3-Clause",
    "text-unidecode": "Artistic-1.0-Perl (or GPL)",
}
_HEAD = """\
# Third parties

Packages that Magneton installs for its users, by the extras {extras}, and their licences. Made by `python -m scripts.third_party`; a test compares it with what is installed.

Nothing here is under the GPL or AGPL. Under the LGPL are {lesser}: they serve other packages, unmodified, and Magneton imports none of them.

| package | version | licence |
|---|---|---|
"""


def packages() -> Iterator[tuple[str, str, str]]:
    """Name, version and licence of each, by name."""
    for name in sorted(_reached()):
        found = distribution(name)
        yield name, found.version, licence(name)


def licence(name: str) -> str:
    """As its metadata say it."""
    if name in KNOWN:
        return KNOWN[name]
    metadata = distribution(name).metadata
    kinds = [
        line.rpartition("::")[2].strip()
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License") and not line.endswith("OSI Approved")
    ]
    expression, text = (metadata.get_all(key, [""]) for key in ("License-Expression", "License"))
    told = expression[0] or " OR ".join(kinds) or text[0]
    return str(told).strip().partition("\n")[0] or "unknown"


def refused() -> list[str]:
    """What is wrong with the licences of what users install."""
    return [
        f"{name}: {said}"
        for name, _, said in packages()
        if said == "unknown" or (_is_copyleft(said) and not (name in LESSER and _is_lesser(said)))
    ]


def page() -> str:
    """The text of the page."""
    rows = (f"| {name} | {version} | {said} |\n" for name, version, said in packages())
    extras, lesser = (", ".join(sorted(names)) for names in (EXTRAS, LESSER))
    return _HEAD.format(extras=extras, lesser=lesser) + "".join(rows)


def _is_copyleft(said: str) -> bool:
    choices = re.split(r" OR |\(or ", said)
    return all(re.search(r"GPL|General Public", choice) for choice in choices)


def _is_lesser(said: str) -> bool:
    return re.search(r"LGPL|Lesser", said) is not None


def _reached() -> set[str]:
    """The names of all packages that the extras lead to, on this platform."""
    asked: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [("magneton", EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        known = asked.get(name)
        if known is not None and extras <= known:
            continue
        asked[name] = (known or {""}) | extras
        for text in distribution(name).requires or ():
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in asked[name]):
                waiting.append((canonicalize_name(need.name), set(need.extras)))
    return set(asked) - {"magneton"}


def main() -> int:
    """Write the page; 1 where a licence is refused."""
    PAGE.write_text(page())
    problems = refused()
    for problem in problems:
        print(f"refused: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
