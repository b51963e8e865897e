"""The curves of a tuning as a PNG: VI split, merge and sum, and ARAND, over the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from magneton_tasks.base.extras import require_extra
from magneton_tasks.errors import UsageError
from magneton_tasks.trials.tuning_result import Point, Tuning, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's palette without yellow: told apart by colour-blind people, and on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#555555"


def require_plotting() -> None:
    """Refuse where matplotlib isn't installed.

    Raises
    ------
    UsageError
    """
    require_extra("view", ("matplotlib",), "drawing the curves", UsageError)


def draw(tuning: Tuning, threshold: float | None, title: str) -> bytes:
    """A PNG of 1600 x 1800 pixels.

    Parameters
    ----------
    threshold
        The present one, marked by a line; None: no line.

    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 9), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    vi, arand = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for number, function in enumerate(tuning.functions):
        _curves(vi, arand, tuning, function, _COLOURS[number % len(_COLOURS)])
    _mark_best(vi, tuning)
    _finish(vi, arand, tuning, threshold)
    figure.suptitle(title, fontsize=11)
    handles = vi.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    buffer = BytesIO()
    # Without the time and version that matplotlib writes: equal curves, equal files.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _curves(vi: Axes, arand: Axes, tuning: Tuning, function: str, colour: str) -> None:
    points = tuning.of(function)
    at = [p.threshold for p in points]
    style: dict[str, Any] = {"color": colour, "markersize": 3.5}
    vi.plot(at, [p.vi for p in points], "-o", linewidth=2, label=_label(points), **style)
    vi.plot(at, [p.vi_split for p in points], "--", linewidth=1.2, color=colour)
    vi.plot(at, [p.vi_merge for p in points], ":", linewidth=1.6, color=colour)
    arand.plot(at, [p.arand for p in points], "-o", linewidth=2, **style)
    own = best_of(points)
    for axes, value in ((vi, own.vi), (arand, own.arand)):
        axes.plot([own.threshold], [value], "o", markersize=9, mfc="none", mec=colour, mew=1.5)


def _label(points: Sequence[Point]) -> str:
    own = best_of(points)
    return f"{own.merge_function}: {own.vi:.3f} bits at {own.threshold:g}"


def _mark_best(vi: Axes, tuning: Tuning) -> None:
    best = tuning.best
    vi.plot(
        [best.threshold],
        [best.vi],
        "*",
        markersize=18,
        mfc="#F0E442",
        mec="black",
        zorder=5,
        label=f"best: {best.merge_function} at threshold {best.threshold:g}",
    )


def _finish(vi: Axes, arand: Axes, tuning: Tuning, threshold: float | None) -> None:
    curves = (
        ("-", "VI: split + merge"),
        ("--", "VI split: objects cut"),
        (":", "VI merge: objects joined"),
    )
    for style, name in curves:
        vi.plot([], [], style, color=_GREY, label=name)
    for axes in (vi, arand):
        if threshold is not None:
            label = f"segment.threshold now ({threshold:g})" if axes is vi else None
            axes.axvline(threshold, color=_GREY, ls="-.", linewidth=1, zorder=0, label=label)
        if tuning.own is not None:
            label = f"what the map asks for ({tuning.own.number:g})" if axes is vi else None
            axes.axvline(
                tuning.own.number, color="black", ls="-", linewidth=0.8, zorder=0, label=label
            )
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    # The ends of the range are bad without limit, and would press what matters flat.
    top = max(p.vi for p in tuning.points)
    vi.set_ylim(0, min(1.05 * top + 0.01, max(5 * tuning.best.vi, 1.0)))
    arand.set_ylim(0, min(1.05 * max(p.arand for p in tuning.points) + 0.01, 1.0))
    vi.set_ylabel("VI (bits), lower is better")
    arand.set_ylabel("ARAND, lower is better")
    arand.set_xlabel(
        "threshold (affinity)      merges more  \N{LEFTWARDS ARROW}      \N{RIGHTWARDS ARROW}  splits more"
    )
