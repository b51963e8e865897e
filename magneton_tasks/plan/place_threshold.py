"""What parts of an affinity map ask for, as records and plans hold it; standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlaceThreshold:
    """What a part of a map asks for.

    Attributes
    ----------
    box
        Where it lies, in voxels, as ``--box`` takes it.
    value
        The threshold.
    has_contrast
        Insides of its objects differ from contacts: there is tissue.
    """

    box: str
    value: float
    has_contrast: bool
