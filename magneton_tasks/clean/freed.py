"""What of a stage's folder each kind of `clean.kinds` frees, and why it may go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: What goes of a stage whose records stay, by patterns of names; of segment by method.
_OPEN = {
    "segment, exact": ("residuals",), "faces": ("faces-*.slices",), "rounds": ("sent-*.slices",),
}  # fmt: skip
#: By kind.
_FREED: dict[str, dict[str, tuple[str, ...]]] = {
    "cache": {
        "segment": ("labels.zarr", "sizes"),
        **_OPEN,
        "join": ("residuals",),
        "mesh": ("cells",),
        "skeleton": ("cells",),
    },
    "cuts": {
        "segment, exact": ("labels.zarr", "residuals", "supervoxels-*.slices"),
        "faces": ("faces-*.slices",),
        "rounds": ("names-*.slices", "sent-*.slices"),
    },
}
#: Folders of stages that leave pieces of objects.
_OF_OBJECTS = ("mesh-", "skeleton-")
#: What is there of a segment folder of the exact method as long as it holds labels.
_OF_EXACT = ("supervoxels-*.slices", "residuals")


def kind_of(name: str) -> str:
    """What a stage's whole folder is, by its name, where its settings are in use."""
    if name.startswith(("faces-", "rounds-")):
        return "cuts"
    return "cache" if name.startswith("segment-") else "records"


def frees(name: str, kind: str) -> bool:
    """Whether a kind frees anything of a stage whose records stay, by the name of its folder."""
    return any(stage.startswith(name.partition("-")[0]) for stage in _FREED[kind])


def of(name: str, folder: Path, kind: str) -> Iterator[Path]:
    """What goes of a folder of records, and what lies beside them; ``name``: of the stage's folder."""
    stage = name.partition("-")[0]
    if stage == "segment" and _is_exact(folder):
        stage = "segment, exact"
    for pattern in _FREED[kind].get(stage, ()):
        yield from sorted(folder.glob(pattern))


def why(folder: Path, kind: str, *, is_all: bool, is_verified: bool) -> str:
    """Why something of a stage's folder may go, and what its loss costs.

    Parameters
    ----------
    is_all
        All kinds go.
    is_verified
        Of a volume that was.
    """
    if kind == "stale":
        return "made with other settings than the config or the newest attempt have"
    if kind == "records":
        return "merge checkpoints: the next run merges and writes the output again"
    if is_all and kind == "cache":
        return "blocks and their records: the next run computes everything again"
    if kind == "cache" and folder.name.startswith(_OF_OBJECTS):
        return "pieces of objects: the next run that changes some makes them again"
    if kind == "cuts":
        return "further thresholds are cut of it: without it the next one computes all blocks again"
    if not folder.name.startswith("segment-") or _is_exact(folder):
        return (
            "what a verified volume left open: no further threshold needs it"
            if is_verified
            else "what is open of a volume that isn't verified: the next run computes it again"
        )
    if is_verified:
        return "labels of a verified volume: needed only if pool or apply are done again"
    return "labels of a volume that isn't verified: the next run computes them again"


def _is_exact(folder: Path) -> bool:
    """Whether a folder of segment is of the exact method, which leaves more than labels."""
    return any(next(folder.glob(pattern), None) is not None for pattern in _OF_EXACT)
