"""Which keys decide results, for fingerprints and for words about what differs.

Each key of the schema says it itself, or its section does (`field_facts`): `Decides`, or `NOTHING`.

A key may be renamed and results stay: what is hashed is its **id**, which never changes. The ids
of the first release are the names that the keys had then. A key that is younger than the results
is hashed only where it differs from what stood for it before it existed, so a new key makes
nobody's results stale. What is hashed is what the run takes: defaults filled in, keys that the
method or the rule doesn't read left out (`plan.fingerprints`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pydantic import BaseModel

from magneton_tasks.base.methods import Choice
from magneton_tasks.config import field_facts, keys
from magneton_tasks.config.field_facts import ALWAYS, Decides
from magneton_tasks.config.model import RunConfig

#: What is hashed together, and the choice that it decides first.
GROUPS: dict[str, Choice] = {
    "input": "segment", "mask": "segment", "exact": "segment", "segment": "segment",
    "pool": "pool", "apply": "apply", "mesh": "apply", "skeleton": "apply",
}  # fmt: skip


@cache
def table(model: type[BaseModel]) -> Mapping[str, Decides]:
    """The keys of a schema that decide results."""
    return {key: row for key, (row,) in field_facts.of(model, Decides).items()}


def decides(key: str, choice: str) -> bool:
    """Whether a key (or ``box``, which may be null) decides results of a choice itself."""
    rows = table(RunConfig)
    return any(row.choice == choice for known, row in rows.items() if keys.is_in(known, key))


def before(key: str) -> object:
    """What stood for a younger key before it existed; None for any other."""
    row = table(RunConfig).get(key)
    return None if row is None or row.before is ALWAYS else row.before
