"""How long a run still takes, stage by stage: what is left at the pace so far, and what lies between stages.

Pure. A stage that works goes on at its own pace. Stages to come take what plan expected, times what
the stages before took of that, and each waits for the steps that come before its work: under
Airflow tasks, which cost seconds each, however little they have to do. As soon as a stage of this run
has begun, that is measured: from the end of the stage before to its first block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from magneton_tasks.plan.stage_plan import START_S

#: Seconds from the end of a task of Airflow's to the work of the next, before anything is measured: the
#: sample took 48 s in eleven tasks, of which 11 CPU s on two cores were stages (docs/performance.md).
AIRFLOW_STEP_S = 4.0
#: What plan's expectation weighs against what stages took, in seconds: short stages tell little.
_PRIOR_S = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """A stage as far as time is concerned; times in seconds, moments in unix seconds.

    Attributes
    ----------
    steps
        Starts of tasks, one after the other, that come before its work.
    cpu_s
        CPU time that plan expects of what is to do.
    waves
        How often each worker is given a batch of it.
    began, ended
        When this run began the first of its blocks, and ended the newest; None: it hasn't.
    pace_s
        What is left of it at the pace so far; None: nothing tells.
    is_over
        Whether nothing of it is to do any more.
    """

    name: str
    steps: int
    cpu_s: float = 0.0
    waves: int = 1
    began: float | None = None
    ended: float | None = None
    pace_s: float | None = None
    is_over: bool = False


def left(
    parts: Sequence[Part], planned: float, now: float, workers: int, *, in_airflow: bool
) -> Mapping[str, float]:
    """Seconds that each part still takes, what lies before its work included.

    Parameters
    ----------
    parts
        In the order of the flow; several may work at a time.
    planned
        When the run was planned: what comes before the first part counts from there.
    """
    usual_s = AIRFLOW_STEP_S if in_airflow else START_S
    last_begun = max((k for k, part in enumerate(parts) if part.began is not None), default=-1)
    step_s, at = _step(parts[: last_begun + 1], planned, usual_s)
    factor = _factor(parts, workers)
    found: dict[str, float] = {}
    waited_s = max(now - at, 0.0)
    for k, part in enumerate(parts):
        if part.is_over or (k < last_begun and part.began is None):
            found[part.name] = 0.0
        elif part.began is not None:
            work_s = part.cpu_s / workers * factor - (now - part.began)
            found[part.name] = max(work_s, 0.0) if part.pace_s is None else part.pace_s
            waited_s = 0.0
        else:
            # where it is overdue, no less than the last of its steps
            before_s = max(part.steps * step_s - waited_s, min(step_s, usual_s))
            more_s = (part.waves - 1) * min(step_s, usual_s)
            found[part.name] = before_s + part.cpu_s / workers * factor + more_s
            waited_s = 0.0
    return found


def _step(begun: Sequence[Part], planned: float, usual_s: float) -> tuple[float, float]:
    """Seconds per step as this run had them (and one as usual); when the newest part came to its end."""
    waited_s, steps, at = usual_s, 1, planned
    for part in begun:
        if part.began is None:
            continue
        waited_s += max(part.began - at, 0.0)
        steps += part.steps
        at = max(at, part.ended or part.began)
    return waited_s / steps, at


def _factor(parts: Sequence[Part], workers: int) -> float:
    """What stages took of what plan expected, by those that are over."""
    took_s = expected_s = _PRIOR_S
    for part in parts:
        if part.is_over and part.cpu_s and part.began is not None and part.ended is not None:
            took_s += part.ended - part.began
            expected_s += part.cpu_s / workers
    return took_s / expected_s
