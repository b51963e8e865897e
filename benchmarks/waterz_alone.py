"""waterz alone, as the rival in measurements."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np
import waterz
from numpy.typing import NDArray

from magneton_tasks.base.scoring import parse_scoring


def segmented(
    affinities: NDArray[np.float32],
    threshold: float,
    aff_thresholds: tuple[float, float],
    function: str,
) -> NDArray[Any]:
    """Labels of an affinity map in memory; only in a child, for its standard output is closed to all.

    Parameters
    ----------
    threshold
        As `segment.threshold`: an affinity.
    function
        As `segment.merge_function`.
    """
    scoring, (low, high) = parse_scoring(function), aff_thresholds
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        os.dup2(nowhere.fileno(), 1)  # it prints from C++
        (labels,) = waterz.agglomerate(
            affinities,
            [1 - threshold],
            aff_threshold_low=low,
            aff_threshold_high=high,
            scoring_function=scoring.function,
            discretize_queue=scoring.queue_bins,
        )
    return np.asarray(labels)
