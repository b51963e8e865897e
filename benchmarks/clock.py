"""CPU time of some functions while others run; without the project, so that any release can load it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

Seconds = dict[str, float]


def best_of(
    module: Any, kernels: Mapping[str, str], work: Callable[[], object], repeats: int
) -> Seconds:
    """CPU seconds in functions that a module calls by their names, the least of some runs.

    Parameters
    ----------
    kernels
        From such names to what their time is added to.
    work
        What is run ``repeats`` times, after once unmeasured.
    """
    runs = []
    for _ in range(1 + repeats):
        seconds: Seconds = defaultdict(float)
        with ExitStack() as stack:
            for name, what in kernels.items():
                clocked = _clocked(getattr(module, name), seconds, what)
                stack.enter_context(patch.object(module, name, clocked))
            work()
        runs.append(seconds)
    return {what: min(seconds[what] for seconds in runs[1:]) for what in runs[0]}


def _clocked(function: Callable[..., Any], seconds: Seconds, what: str) -> Callable[..., Any]:
    def clocked(*arguments: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments)
        finally:
            seconds[what] += time.process_time() - began

    return clocked
