"""Names of merge functions: what waterz scores the edges of the region graph with.

A short name is a list of three-letter words with a number, as in waterz's older tools::

    mean             mean affinity
    aff50_his256     50 % quantile of the affinity, from a histogram of 256 bins
    size             relative difference of the sizes: a control that ignores affinities

    + _ini0          histogram of all affinities of the initial edge; without it (``ini1``)
                     only the largest one starts the histogram, as everywhere in the field
    + _que0          exact priority queue
    + _que256        queue of 256 bins: cheaper, merges in steps of 1/256

The queue is left out where it is the usual one: 256 bins for quantiles (as in the older tools),
none for ``mean`` and ``size`` (waterz's own default). ``_ran255``, which stood for 8-bit
affinities, is read and dropped: the range of the affinities is known from the volume.
C++ type names are taken as well, also with ``_que0`` or ``_que256`` behind them.

Only variants that waterz 0.10.1 ships compiled are accepted; any other would need a compiler, the
boost headers and a writable cache on every worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Literal

from magneton_tasks.errors import ConfigError

Kind = Literal["mean", "histogram", "size"]

#: Quantiles in percent that waterz 0.10.1 ships compiled (waterz._codegen.QUANTILES).
QUANTILES = tuple(range(10, 100, 5))
#: Bins of the shipped histograms.
HISTOGRAM_BINS = 256
#: Bins of the shipped queues; 0 is an exact priority queue (waterz._codegen.QUEUE_BINS).
QUEUE_BINS = (0, 256)

_MEAN = "OneMinus<MeanAffinity<RegionGraphType,ScoreValue>>"
_QUANTILE = "OneMinus<HistogramQuantileAffinity<RegionGraphType,{q},ScoreValue,256,{init}>>"
_SIZE = (
    "Divide<Subtract<MaxSize<RegionGraphType>,MinSize<RegionGraphType>>,"
    "Add<MaxSize<RegionGraphType>,MinSize<RegionGraphType>>>"
)
_USUAL_QUEUE: dict[Kind, int] = {"mean": 0, "histogram": 256, "size": 0}
#: Words that say the usual thing, and so don't change the name.
_IMPLIED_WORDS = frozenset({"ini1", "ran255", "ran1"})


@dataclass(frozen=True, slots=True)
class Scoring:
    """A merge function that waterz ships compiled.

    Attributes
    ----------
    function
        The C++ type, as ``waterz.agglomerate(scoring_function=...)`` takes it.
    queue_bins
        Its ``discretize_queue``: 0 or 256.
    canonical
        The one short name of this variant; equal variants have equal names.
    kind
        What it keeps per edge; decides on the memory it needs.
    """

    function: str
    queue_bins: int
    canonical: str
    kind: Kind


@cache
def shipped() -> dict[str, Scoring]:
    """Every accepted variant by its canonical short name."""
    functions: list[tuple[str, str, Kind]] = [("mean", _MEAN, "mean")]
    for q in QUANTILES:
        name = f"aff{q}_his{HISTOGRAM_BINS}"
        functions.append((name, _QUANTILE.format(q=q, init="true"), "histogram"))
        functions.append((f"{name}_ini0", _QUANTILE.format(q=q, init="false"), "histogram"))
    functions.append(("size", _SIZE, "size"))
    table = {}
    for name, function, kind in functions:
        for bins in QUEUE_BINS:
            canonical = name if bins == _USUAL_QUEUE[kind] else f"{name}_que{bins}"
            table[canonical] = Scoring(function, bins, canonical, kind)
    return table


def parse_scoring(name: str) -> Scoring:
    """The merge function of a short name or a C++ type name.

    Raises
    ------
    ConfigError
        The name is unknown, or waterz doesn't ship this variant compiled.
    """
    short = _short_of_cpp(name) if "<" in name else name.strip().lower()
    words = [w for w in short.split("_") if w not in _IMPLIED_WORDS]
    table = shipped()
    usual = table.get("_".join(w for w in words if not w.startswith("que")))
    found = table.get("_".join(words))
    if found is None and usual is not None and words[-1] == f"que{usual.queue_bins}":
        found = usual
    if found is None:
        raise ConfigError(
            f"merge_function {name!r} isn't one that waterz ships compiled",
            f"nearest: {_nearest(short)}. Available: {available()}",
        )
    return found


def available() -> str:
    """The accepted short names, in one sentence."""
    first, *rest = QUANTILES
    return (
        f"mean, aff<Q>_his{HISTOGRAM_BINS} with Q = {first}, {', '.join(map(str, rest))}, size; "
        f"aff<Q>_his{HISTOGRAM_BINS} also with _ini0; any of them with _que0 or _que256 at the end"
    )


def _short_of_cpp(name: str) -> str:
    """The short name of a C++ type, or the type without blanks where it isn't known."""
    queue = re.search(r"_que\d+\s*\Z", name)
    suffix = queue.group().strip() if queue else ""
    function = re.sub(r"\s+", "", name[: queue.start()] if queue else name)
    function = function.replace(
        "EdgeStatisticValue<RegionGraphType,MeanAffinityProvider<RegionGraphType,ScoreValue>>",
        "MeanAffinity<RegionGraphType,ScoreValue>",
    )
    # C++'s default for the last argument
    function = re.sub(r"(HistogramQuantileAffinity<\w+,\d+,\w+,\d+)>", r"\1,true>", function)
    for scoring in shipped().values():
        if scoring.function == function and scoring.queue_bins == _USUAL_QUEUE[scoring.kind]:
            return scoring.canonical + suffix
    return function + suffix


def _nearest(short: str) -> str:
    """The accepted name that looks most like ``short``."""
    quantile = re.match(r"aff(\d+)|.*QuantileAffinity<\w+,(\d+)", short)
    if quantile:
        wanted = int(quantile.group(1) or quantile.group(2))
        q = min(QUANTILES, key=lambda q: abs(q - wanted))
        return f"aff{q}_his{HISTOGRAM_BINS}" + ("_ini0" if "_ini0" in short else "")
    return next(iter(get_close_matches(short, shipped(), n=1, cutoff=0.0)), "mean")
