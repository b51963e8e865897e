"""Which threshold a run segments with, and how one that the map asks for is kept.

pool takes it from the whole map (`of_pool`). Before, nobody knows it; a dry run looks at samples, for
people who want to know what to expect (`guess`). ``work/thresholds.json`` holds an entry for each input
and each settings that decide what the map asks for. **A threshold from the map belongs to
the result**: the same volume keeps it, also where a few of its chunks changed since, and on another
grid; a restart, another ``input.version`` or another setting takes it anew. Only pool writes the file,
while its run holds the volume's lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from magneton_tasks.base import files
from magneton_tasks.base.as_json import of_json, to_json
from magneton_tasks.base.geometry import Box
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.errors import CorruptFileError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.kernels import versions
from magneton_tasks.plan.fingerprints import decisive
from magneton_tasks.plan.place_threshold import PlaceThreshold
from magneton_tasks.plan.plan import ThresholdChoice, digest
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import WorkPaths

if TYPE_CHECKING:
    from magneton_tasks.kernels.exact.map_threshold import ThresholdSums

#: The key, as overrides have it.
KEY = "segment.threshold"
#: By how much the map may ask for another threshold than the result has, before pool warns.
MOST_DRIFT = 0.02
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What the map asked for.

    Attributes
    ----------
    value, between, inside, change_bits, cliff_bits, low, warned
        As `kernels.exact.map_threshold.MapThreshold`.
    now
        What the map asked for then, where it had changed since.
    is_whole
        A pool found it in the sums of all blocks; samples decide nothing.
    places
        What parts of the map ask for.
    """

    value: float
    between: float
    inside: float
    change_bits: float
    cliff_bits: float
    low: float
    warned: tuple[str, ...]
    now: float | None = None
    is_whole: bool = False
    places: tuple[PlaceThreshold, ...] = ()

    def choice(self) -> ThresholdChoice:
        warnings = [_WARNINGS[name].format(**asdict(self)) for name in self.warned]
        if differing := _differing(self.places):
            warnings.append(differing)
        if self.now is not None and abs(self.now - self.value) > MOST_DRIFT:
            warnings.append(
                f"the map has changed: its own threshold is now {self.now:g}, and this result "
                f"keeps {self.value:g}; a run with --restart takes the new one"
            )
        return ThresholdChoice(
            self.value,
            "map",
            self.between,
            self.inside,
            tuple(warnings),
            self.now,
            is_guess=not self.is_whole,
            places=self.places,
        )


#: What is doubtful, and what to do.
_WARNINGS = {
    "few contacts": "the map holds too few contacts to find a threshold, so {value:g} is used: "
    "is the box or the mask right? set segment.threshold (magneton try shows what several make)",
    "poor contrast": "contacts between objects ({between:.2f}) and insides of objects ({inside:.2f}) hardly "
    "differ: is the map read right (input.channels, offset_sign, invert)? look at several thresholds "
    "with magneton try",
    "stopped early": "the threshold {value:g} lies higher than the levels ask for, because a lower one would "
    "merge much more: look at lower ones with magneton try",
    "cliff below": "at {low:g}, a little below the threshold {value:g}, much more merges ({cliff_bits:.1f} bits): "
    "look for merged objects; mask what isn't tissue (mask.path), or set a higher segment.threshold",
    "no lower cut": "the map asks for less than {value:g}, down to which blocks were merged: look whether too "
    "much is split there, and set a lower exact.lowest_threshold",
}


def _differing(places: Sequence[PlaceThreshold]) -> str | None:
    """What to do about parts of a map that ask for different thresholds; None: they don't."""
    from magneton_tasks.kernels.exact.part_thresholds import differ

    if not differ([place.value for place in places]):
        return None
    low, high = (end(places, key=lambda place: place.value) for end in (min, max))
    text = (
        f"the map differs over the volume: it asks for {low.value:g} at {low.box} and for "
        f"{high.value:g} at {high.box}"
    )
    flat = [place for place in places if not place.has_contrast]
    if flat:
        where = ", ".join(place.box for place in flat[:3]) + (", ..." if len(flat) > 3 else "")
        text += f"; insides of objects and contacts hardly differ at {where}"
    return (
        f"{text}: look there (magneton try --box), and mask what isn't tissue (mask.path). If all is, "
        f"segment.threshold: {high.value:g} splits more and merges least, and computes no block again"
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What ``thresholds.json`` holds."""

    format: int
    entries: Mapping[str, Entry]


def fixed(config: RunConfig, overrides: Mapping[str, object]) -> ThresholdChoice | None:
    """What a config says (it holds its ``overrides``); None: its threshold comes from the map."""
    given = config.segment.threshold
    if given is not None:
        return ThresholdChoice(given, "config" if overrides.get(KEY) is None else "run")
    if config.method == "overlap":
        return ThresholdChoice(USUAL_THRESHOLD, "config")
    return None


def known(
    config: RunConfig, overrides: Mapping[str, object], box: Box, input_digest: str
) -> ThresholdChoice:
    """As `fixed`, or what a pool took from the map; it has no value where none did yet.

    Parameters
    ----------
    box
        What is segmented.
    input_digest
        As `Plan.input_digest`.

    Raises
    ------
    CorruptFileError
        ``thresholds.json`` is damaged.
    """
    choice = fixed(config, overrides)
    if choice is not None:
        return choice
    entry = read(WorkPaths(Path(config.paths.work))).get(key_of(config, box, input_digest))
    if entry is None or not entry.is_whole:  # releases before kept what samples say
        return ThresholdChoice(None, "map")
    return entry.choice()


def key_of(config: RunConfig, box: Box, input_digest: str) -> str:
    """Digest of what decides the threshold that a map asks for."""
    return digest(
        [versions.MAP_THRESHOLD, config.paths.input, input_digest, str(box)],
        [decisive(config, section) for section in ("mask", "input", "exact")],
    )


def guess(config: RunConfig, info: VolumeInfo, box: Box) -> ThresholdChoice:
    """What samples of the map say; nothing is kept.

    Parameters
    ----------
    info
        Of the affinity map.
    box
        What is segmented.

    Raises
    ------
    MagnetonError
        As `map_samples.look`.
    """
    from magneton_tasks.stages.planning import map_samples

    looked = map_samples.look(config, map_samples.places(box, info.chunk_size, info.box.begin))
    return Entry(**asdict(looked.found)).choice()


# ------------------------------------------------------------------ taking it from the map
def of_pool(
    attempt: Attempt, sums: ThresholdSums, lowest: float, parts: Sequence[ThresholdSums]
) -> ThresholdChoice:
    """What a whole map asks for, or what its result has kept since it asked for that; is kept.

    Parameters
    ----------
    sums
        Of all blocks, faces and rounds.
    lowest
        What they were merged down to.
    parts
        The sums of each part, as `kernels.exact.rounds.places.Places` has them.

    Raises
    ------
    CorruptFileError
        ``thresholds.json`` is damaged.
    OutputError
        Disk full, quota, I/O error.
    """
    plan = attempt.plan
    key = key_of(attempt.frozen_config(), plan.geometry.box, plan.input_digest)
    kept, anew = read(attempt.work).get(key), plan.restart and "segment" in plan.stages
    entry = replace(of_whole_map(sums, lowest), places=_places(attempt, parts, _least(lowest)))
    if kept is not None and kept.is_whole and not anew:
        now = entry.value if entry.value != kept.value else None
        entry = replace(kept, now=now, places=entry.places)
    if entry != kept:
        entries = {**read(attempt.work), key: entry}
        files.write_atomic(attempt.work.thresholds, to_json(Kept(_FORMAT, entries)))
    return entry.choice()


def of_whole_map(sums: ThresholdSums, lowest: float) -> Entry:
    """What the rule makes of sums: no less than the lowest level that was merged down to.

    Below that the sums stand still, as if nothing merged there.
    """
    from magneton_tasks.kernels.exact.map_threshold import choose

    entry = Entry(**asdict(choose(sums)), is_whole=True)
    least = _least(lowest)
    entry = replace(entry, low=max(entry.low, least))
    if entry.value >= least:
        return entry
    return replace(entry, value=least, warned=(*entry.warned, "no lower cut"))


def _least(lowest: float) -> float:
    """The lowest level that was merged down to."""
    from magneton_tasks.kernels.exact.map_threshold import LEVELS

    return next((level for level in LEVELS if level >= lowest), LEVELS[-1])


def _places(
    attempt: Attempt, parts: Sequence[ThresholdSums], least: float
) -> tuple[PlaceThreshold, ...]:
    """What the parts ask for; no less than ``least``."""
    from magneton_tasks.kernels.exact.part_thresholds import of_parts
    from magneton_tasks.kernels.exact.rounds.places import Places

    grid = attempt.plan.geometry.grid
    places = Places.of(grid)
    return tuple(
        PlaceThreshold(
            str(places.box_of(found.part, grid)), max(found.value, least), found.has_contrast
        )
        for found in of_parts(parts)
    )


def read(work: WorkPaths) -> dict[str, Entry]:
    """The entries of a work directory, by key.

    Raises
    ------
    CorruptFileError
        The file isn't what plan wrote.
    """
    try:
        with files.open_read(work.thresholds) as file:
            text = file.read()
        if json_object(text)["format"] != _FORMAT:
            return {}  # of another release: the map is asked again
        return dict(of_json(Kept, text).entries)
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError) as error:
        raise CorruptFileError(
            f"{work.thresholds}, which keeps the thresholds that results were made with, is damaged: {error}",
            "restore it from a backup; or remove it, and the next run takes the threshold from the map "
            "again (the same one if the map hasn't changed)",
        ) from None
