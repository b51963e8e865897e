"""What a form may set: the one list, which the trigger form offers and plan's check goes by.

Each of its keys says so itself (`field_facts.InForm`). They are numbers, choices, and paths under
``$MAGNETON_ROOTS``: no form can name a command, a host, or a path elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from magneton_tasks.base.location import locate
from magneton_tasks.config import field_facts, keys
from magneton_tasks.config.field_facts import Heading, InForm
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.read import known_keys, nearest, uses_partition
from magneton_tasks.config.roots import PATH_KEYS, ROOTS_VARIABLE, allowed_roots
from magneton_tasks.config.thresholds import uses_threshold
from magneton_tasks.config.unread import unread_keys
from magneton_tasks.errors import ConfigError


def _sections() -> dict[str, tuple[str, ...]]:
    places = {key: place for key, (place,) in field_facts.of(RunConfig, InForm).items()}
    ordered = sorted(places, key=lambda key: places[key].is_last)
    return {
        heading: tuple(key for key in ordered if places[key].heading == heading)
        for heading in get_args(Heading)
    }


#: The keys, by the heading that they stand under in the form.
SECTIONS = _sections()
KEYS = tuple(key for section in SECTIONS.values() for key in section)


#: Parameters of a run that are no keys.
RUN_KEYS = ("stages", "thresholds", "partition", "restart")


def run_keys(config: RunConfig) -> tuple[str, ...]:
    """Those of `RUN_KEYS` that this config's form offers: a partition, and several thresholds, only
    where the paths hold what stands for them (and the method has cuts).
    """
    has_cuts = uses_threshold(config) and config.method == "exact"
    has = {"partition": uses_partition(config), "thresholds": has_cuts}
    return tuple(key for key in RUN_KEYS if has.get(key, True))


def offered(config: RunConfig) -> tuple[str, ...]:
    """The keys that this config's form offers: those that its method reads, of sections that it has,
    and that may be chosen.
    """
    unread = unread_keys(RunConfig, "method", config.method)
    found = [k for k in KEYS if not any(keys.is_in(k, u) for u in unread)]
    absent = [s for s in keys.sections(RunConfig) if keys.value(config, s) is None]
    found = [k for k in found if not any(keys.is_in(k, section) for section in absent)]
    if len(config.runner.offered) == 1:
        found.remove("runner.default")
    return tuple(k for k in found if k not in PATH_KEYS or _is_allowed(config, k))


def _is_allowed(config: RunConfig, key: str) -> bool:
    """Whether the form may name this path: not where roots are unset, nor where it is a bucket's."""
    value = keys.value(config, key)
    return bool(allowed_roots()) and (value is None or locate(str(value)).path is not None)


def check(given: Iterable[str], may_set: Sequence[str] = KEYS, others: Sequence[str] = ()) -> None:
    """Refuse keys that a form may not set.

    `config.roots.check_roots` looks at the paths themselves.

    Parameters
    ----------
    given
        Names of what came from a form.
    may_set
        The config keys that it could offer.
    others
        Its parameters that are no config keys.

    Raises
    ------
    ConfigError
        Names the first wrong key, and what a form may set; an unknown key with the nearest one.
    """
    for key in given:
        if key not in may_set and key not in others:
            raise _refusal(key, (*may_set, *others))


def _refusal(key: str, may_set: Sequence[str]) -> ConfigError:
    may = f"a form may set: {', '.join(may_set)}"
    if key in PATH_KEYS and not allowed_roots():
        return ConfigError(
            f"{key} can't be set by a run's parameters: ${ROOTS_VARIABLE} isn't set",
            f"set {key} in the volume's YAML file, or Airflow's {ROOTS_VARIABLE} to the directories under which forms may name paths",
        )
    if key in (*known_keys(), *RUN_KEYS):
        return ConfigError(
            f"{key} can't be set by a run's parameters",
            f"change it in the volume's YAML file; {may}",
        )
    return ConfigError(f"{key} is not a parameter{nearest(key, may_set)}", may)
