"""``magneton try``: a box at several thresholds, one precomputed layer each.

::

    work/try-<16 hex>/
      try.json                  what was tried: input, box, settings, and the layers that are done
      0.5/  0.7/  ...           precomputed segmentations; a cell has one id in all of them
      .layers.<...>.tmp/        layers that are being written

The name is a digest of what decides the labels, thresholds apart: a threshold that is done stays
done, whichever others are asked for. A layer appears by one rename, whole; two that make the same
one at once don't disturb each other, for theirs are equal. Its ids are those of the layers whose
thresholds are nearest (`same_cells`), so a viewer shows a cell in one colour.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import OutputError
from magneton_tasks.formats.precomputed.owner import write_owner
from magneton_tasks.kernels import versions
from magneton_tasks.plan.fingerprints import decisive
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.planning import checks
from magneton_tasks.stages.planning.attempt_directory import mark
from magneton_tasks.trials.cost import memory_limit
from magneton_tasks.trials.trial import EXACT, Trial, settings_of, threshold_name
from magneton_tasks.trials.trial_work import in_child, with_affinities, with_exact_affinities
from magneton_tasks.trials.try_layers import LayerFacts, all_done, read_layer
from magneton_tasks.work.paths import WorkPaths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from magneton_tasks.kernels.overlap.segment import Labels

#: A copy of the labels (uint32), their numbering, the layer beside them, and what encoding takes.
EXTRA_BYTES_PER_VOXEL = 12


@dataclass(frozen=True, slots=True)
class Tried:
    """The layers of a box, by ascending threshold, and what making the new ones took."""

    directory: Path
    layers: tuple[LayerFacts, ...]
    made: tuple[float, ...]
    cpu_s: float
    peak_bytes: int


def directory_of(trial: Trial) -> Path:
    """Where the layers of a box and its settings lie."""
    config, version = trial.config, versions.SEGMENT
    settings = {k: v for k, v in decisive(config, "segment").items() if k not in _UNREAD}
    if trial.function == EXACT:
        settings, version = {"exact": decisive(config, "exact")}, versions.EXACT_BLOCK
    name = digest(
        [version, config.paths.input, decisive(config, "input"), trial.input_digest],
        [str(trial.box), decisive(config, "mask"), settings, config.apply.chunk_size],
    )
    return Path(config.paths.work) / f"try-{name}"


_UNREAD = ("threshold", "min_size_vox")


def missing(trial: Trial, thresholds: Sequence[float]) -> list[float]:
    """The thresholds that aren't done yet."""
    directory = directory_of(trial)
    return [t for t in thresholds if read_layer(directory, t) is None]


def run(trial: Trial, thresholds: Sequence[float]) -> Tried:
    """Make the layers that aren't there yet, by one agglomeration.

    Raises
    ------
    ConfigError
        The box needs more memory than there is.
    NoInputError, BadDataError, OutputError, TemporaryError
        Reading, segmenting or writing failed; finished layers stay.
    """
    directory = directory_of(trial)
    todo = missing(trial, thresholds)
    cpu_s, peak_bytes = 0.0, 0
    if todo:
        checks.check_paths(trial.config, write=False)
        limit = memory_limit(trial, trial.function, EXTRA_BYTES_PER_VOXEL)
        temporary = directory / f".layers.{files.unique_suffix()}.tmp"
        work = _work(trial, todo, temporary)
        mark(WorkPaths(directory.parent))
        _write_marker(trial, directory)
        try:
            result = in_child(work, limit)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        cpu_s, peak_bytes = result.cpu_s, result.peak_bytes
        _write_marker(trial, directory)
    layers = [read_layer(directory, t) for t in sorted(thresholds)]
    if None in layers:
        raise OutputError(
            f"a layer in {directory} vanished while others were made", "run the same command again"
        )
    return Tried(directory, tuple(x for x in layers if x), tuple(todo), cpu_s, peak_bytes)


# ------------------------------------------------------------------ in the child
def _work(trial: Trial, thresholds: Sequence[float], temporary: Path) -> Callable[[], int]:
    """What writes the layers, in a child."""
    from magneton_tasks.kernels.overlap.sweep import exact_sweep, sweep

    if trial.function == EXACT:
        exact = exact_settings(trial.config, thresholds[0])
        return with_exact_affinities(
            trial,
            lambda affinity: _make(trial, exact_sweep(affinity, exact, thresholds), temporary),
        )
    settings = settings_of(trial, trial.function)
    return with_affinities(
        trial,
        lambda affinity, mask: _make(trial, sweep(affinity, settings, thresholds, mask), temporary),
    )


def _make(trial: Trial, layers: Iterable[tuple[float, Labels]], temporary: Path) -> int:
    """Write the layers; returns how many."""
    count = 0
    for threshold, labels in layers:
        made = temporary / threshold_name(threshold)
        _write_layer(trial, made, threshold, labels.labels, labels.count)
        _publish(made, temporary.parent, threshold)
        count += 1
    return count


def _write_layer(
    trial: Trial, path: Path, threshold: float, labels: NDArray[np.uint32], count: int
) -> None:
    import numpy as np

    from magneton_tasks.formats.precomputed.write import create_segmentation
    from magneton_tasks.kernels.label_sizes import label_sizes

    whole = (slice(None), slice(None), slice(None))
    sizes = label_sizes(labels, whole, count).read
    box, chunk = trial.box, trial.config.apply.chunk_size
    slab = vec3((chunk[0], box.shape[1], box.shape[2]))  # as uint64, all would be twice the labels
    ids = _ids(trial, path.parent.parent, threshold, labels, count, slab)
    store = create_segmentation(f"file://{path}", box, trial.info.voxel_size_nm, chunk)
    for part in box.tiles(slab):
        store.write(0, part, ids[labels[part.slices(box.begin)]])
    facts = {
        "threshold": threshold,
        "objects": count,
        "segmented_vox": int(sizes.sum(dtype=np.int64)),
        "largest_vox": int(sizes.max(initial=0)),
        "median_vox": float(np.median(sizes)) if count else 0.0,
        "typical_vox": _typical(sizes),
        "highest_id": int(ids.max()),
    }
    write_owner(f"file://{path}", {"magneton": __version__, **facts})


def _ids(
    trial: Trial,
    directory: Path,
    threshold: float,
    labels: NDArray[np.uint32],
    count: int,
    slab: Vec3,
) -> NDArray[np.uint64]:
    """The id of each label: where there are layers, that of the same cell in them."""
    import numpy as np

    from magneton_tasks.formats.volume import open_volume
    from magneton_tasks.trials.same_cells import ids_of

    done = all_done(directory)
    if not done or not count:
        return np.arange(count + 1, dtype=np.uint64)

    def reader(layer: LayerFacts) -> Callable[[Box], NDArray[np.uint64]]:
        volume = open_volume(layer.url)
        return lambda part: volume.read(part.translate(trial.box.begin))[0]

    nearest_first = sorted(done, key=lambda layer: abs(layer.threshold - threshold))
    highest = max(layer.highest_id for layer in done)
    return ids_of(labels, count, map(reader, nearest_first), slab, highest)


def _typical(sizes: NDArray[np.uint32]) -> int:
    import numpy as np

    descending = np.sort(sizes)[::-1]
    held = np.cumsum(descending, dtype=np.int64)
    return int(descending[np.searchsorted(held, held[-1] / 2)]) if held.size else 0


def _publish(made: Path, directory: Path, threshold: float) -> None:
    """Rename a whole layer into place, unless another process was first."""
    path = directory / threshold_name(threshold)
    if path.exists() and read_layer(directory, threshold) is None:
        shutil.rmtree(path)  # a part of it was deleted
    try:
        os.rename(made, path)
        files.sync_directory(directory)
    except OSError as error:
        if read_layer(directory, threshold) is None:
            raise files.writing_failed(path, error) from error


def _write_marker(trial: Trial, directory: Path) -> None:
    """``try.json``: says that the directory is ours, and of what it is."""
    box: Box = trial.box
    resolved = trial.config.resolved()
    content = {
        "magneton": "try",
        "version": __version__,
        "input": trial.config.paths.input,
        "mip": trial.config.input.mip,
        "box": {"begin": box.begin, "end": box.end},
        "voxel_size_nm": trial.info.voxel_size_nm,
        "method": trial.config.method,
        "segment": {k: v for k, v in resolved["segment"].items() if k not in _UNREAD},
        "exact": resolved.get("exact"),
        "layers": [{**asdict(f), "largest_share": f.largest_share} for f in all_done(directory)],
    }
    files.write_atomic(directory / "try.json", json.dumps(content, indent=1).encode())
