"""The layers that `magneton try` has made of a box, and what each holds."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.formats.precomputed.owner import OWNER_FILE
from magneton_tasks.trials.trial import threshold_name


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What one threshold gave.

    Attributes
    ----------
    objects
        Segments in the box.
    segmented_vox, largest_vox, median_vox
        Voxels that aren't background, of the largest object, and of the median one.
    typical_vox
        Half of the segmented voxels lie in objects of at least as many: where most objects are
        crumbs, this is what one sees.
    highest_id
        Of the layer.
    """

    threshold: float
    url: str
    objects: int
    segmented_vox: int
    largest_vox: int
    median_vox: float
    typical_vox: int
    highest_id: int

    @property
    def largest_share(self) -> float:
        """Share of the segmented voxels that the largest object holds."""
        return self.largest_vox / max(self.segmented_vox, 1)


def read_layer(directory: Path, threshold: float) -> LayerFacts | None:
    """A whole layer; None where it isn't there, or lacks something."""
    path = directory / threshold_name(threshold)
    # TypeError: what another version kept of it
    with suppress(OSError, ValueError, KeyError, TypeError):
        if (path / "info").is_file():
            facts: dict[str, Any] = json.loads((path / OWNER_FILE).read_text())
            del facts["magneton"]
            return LayerFacts(url=f"file://{path}", **facts)
    return None


def all_done(directory: Path) -> list[LayerFacts]:
    """The whole layers, by threshold."""
    found = (_read_named(directory, name) for name in files.listdir(directory))
    return sorted((facts for facts in found if facts), key=lambda facts: facts.threshold)


def _read_named(directory: Path, name: str) -> LayerFacts | None:
    try:
        threshold = float(name)
    except ValueError:
        return None
    return read_layer(directory, threshold)
