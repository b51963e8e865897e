"""The work of try and tune: the box is read and segmented in a forked child, as a block is.

What opens the volumes and loads compiled code runs before the fork, so that a wrong volume is told
at once and the child's memory is that of its work.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from magneton_tasks.base.failures import is_untold_bug
from magneton_tasks.base.geometry import Box
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import BadDataError, MagnetonError, OutOfMemoryError
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.stages.child import ChildResult, rebuild_error, run_in_child
from magneton_tasks.trials.trial import Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: what is made of one box, and what is told of all of them together
_Made = TypeVar("_Made")
_Told = TypeVar("_Told")


def in_child(work: Callable[[], object], limit: int) -> ChildResult:
    """Run ``work`` as a block is worked: forked, with a memory limit; a crash leaves its log."""

    def guarded() -> dict[str, object]:
        try:
            return {"value": work()}
        except MagnetonError as error:  # told by its message; a log would only show where
            if is_untold_bug(error):
                raise
            kind = type(error).__name__
            return {"what": error.what, "hint": error.hint, "error": kind, "code": error.exit_code}

    folder = Path(tempfile.mkdtemp(prefix="magneton-"))
    try:
        result = run_in_child(guarded, folder / "log", limit)
    except OutOfMemoryError as error:
        raise OutOfMemoryError(error.what, "take a smaller --box, or raise local.memory") from None
    finally:
        if not any(path.stat().st_size for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
    if "error" in result.value:
        raise rebuild_error(result.value["code"], result.value)
    return replace(result, value=result.value["value"])


def with_affinities(
    trial: Trial, work: Callable[[NDArray[np.float32], NDArray[np.bool_] | None], _Made]
) -> Callable[[], _Made]:
    """Open the volumes; what comes back reads the box (in a child) and hands it to ``work``.

    Errors of the volume appear here, before a fork; a bad affinity is named by its voxel.
    """
    from magneton_tasks.work.inputs import open_affinity, open_mask

    affinity = open_affinity(trial.config)
    mask = open_mask(trial.config, affinity.info)
    return _placing(
        trial,
        lambda: work(affinity.read(trial.box), None if mask is None else mask.read(trial.box)),
    )


def with_blocks(
    trial: Trial,
    boxes: Sequence[Box],
    each: Callable[[NDArray[np.float32], NDArray[np.bool_] | None], _Made],
    then: Callable[[list[_Made]], _Told],
) -> Callable[[], _Told]:
    """As `with_affinities`, box by box: ``then`` gets what ``each`` made of them."""
    from magneton_tasks.work.inputs import open_affinity, open_mask

    affinity = open_affinity(trial.config)
    mask = open_mask(trial.config, affinity.info)

    def of(box: Box) -> _Made:
        return _placing(
            trial,
            lambda: each(affinity.read(box), None if mask is None else mask.read(box)),
            box,
        )()

    return lambda: then([of(box) for box in boxes])


def with_exact_affinities(
    trial: Trial, work: Callable[[NDArray[np.uint8]], _Made]
) -> Callable[[], _Made]:
    """As `with_affinities`, as the exact method reads a volume that is this box."""
    import numpy as np

    from magneton_tasks.formats.exact_reader import ExactReader
    from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations
    from magneton_tasks.work.inputs import open_affinity, open_mask

    affinity = open_affinity(trial.config)
    reader = ExactReader(affinity, open_mask(trial.config, affinity.info), trial.box)
    few = np.full((3, 2, 2, 2), 128, np.uint8)  # the compiled code is loaded before a child forks
    list(exact_segmentations(few, exact_settings(trial.config, 0.5), [0.5]))
    return _placing(trial, lambda: work(reader.read(trial.box)[0]))


def _placing(
    trial: Trial, work: Callable[[], _Made], box: Box | None = None
) -> Callable[[], _Made]:
    """What says where in the volume something is wrong; ``box``: what is read, if not the trial's."""
    at = box or trial.box

    def do() -> _Made:
        try:
            return work()
        except BadAffinityError as error:
            raise error.placed(at.begin, f"{trial.info.url}: ") from None
        except BadDataError as error:
            raise BadDataError(f"box {at}: {error.what}", error.hint) from None

    return do
