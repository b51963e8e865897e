"""Write a sample volume as a directory that is ready to run.

::

    DIR/
      affinity/     the input: uint8, 3 channels
      truth/        the objects, to score the result against
      volume.yaml   the volume config; segmentation/ and work/ appear here when it runs
      sample.json   how the sample was made; says "complete" once all else is written
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from magneton_tasks.base.files import make_directory, write_atomic
from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.errors import ConfigError, UsageError
from magneton_tasks.sample.volume import SampleVolume, check_sample_parameters, make_sample

Format = Literal["precomputed", "zarr"]

#: Bumped when the same parameters make another sample.
SAMPLE_VERSION = 1

_CHUNK: Vec3 = (64, 64, 64)

_CONFIG = """\
# A sample volume of {shape} voxels (z, y, x) of {size} nm, seed {seed}. To segment it:
#   magneton run {name}/volume.yaml
# and to score the result against the truth:
#   magneton evaluate {name}/segmentation {name}/truth
# Every other key has its default; `magneton config show {name}/volume.yaml` lists them all.

paths:
  input: {input}
  output: {output}
  work: {work}

# Small blocks, so that a small volume has several; the default is [256, 256, 256].
block:
  size: {block}        # z, y, x in voxels

# Many chunks share a file; the default does so for large volumes.
apply:
  sharding: on

# Meshes of all objects, for 3D views; null: none.
mesh: {{mip: 2}}

# What is most often tuned (these are the defaults):
# segment:
#   threshold: null                # null: from the map itself (plan prints it); a lower number merges more
#   min_size_vox: 0                # leave out objects that are smaller
"""


def write_sample(
    directory: str | Path,
    shape: Vec3 = (256, 256, 256),
    seed: int = 0,
    format: Format = "precomputed",  # noqa: A002  the word of the command line
) -> Path:
    """Make a sample in ``directory``; a complete one of the same parameters is left as it is.

    An interrupted sample of the same parameters is written again. The volume's name is the
    directory's. Returns the path of the volume config, ``volume.yaml``.

    Raises
    ------
    UsageError
        The shape is too small, or the seed is negative, or the format unknown.
    ConfigError
        The directory holds something else, or a sample of other parameters.
    OutputError
        Disk full, quota, no permission.
    """
    shape = vec3(shape)
    check_sample_parameters(shape, seed)
    if format not in ("precomputed", "zarr"):
        raise UsageError(f"{format!r} is no format of a sample", "take precomputed or zarr")
    path = Path(directory).absolute()
    parameters = {
        "version": SAMPLE_VERSION,
        "shape": list(shape),
        "seed": seed,
        "format": format,
    }
    if not _is_complete(path, parameters):
        _begin(path, parameters)
        _write_volumes(path, make_sample(shape, seed), format)
        config = _config_text(path, shape, seed)
        write_atomic(path / "volume.yaml", config.encode())
        _write_state(path, parameters, "complete")
    return path / "volume.yaml"


def _is_complete(path: Path, parameters: dict[str, Any]) -> bool:
    """Whether the sample is there; refuses a directory that isn't free for it."""
    if not path.is_dir():
        return False
    marker = path / "sample.json"
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(path.iterdir()):
            raise ConfigError(
                f"{path} isn't empty, and holds no sample",
                "give a directory that is empty or doesn't exist",
            ) from None
        return False
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{marker} can't be read: {error}", "give another directory, or remove this one"
        ) from error
    state = found.pop("state", None) if isinstance(found, dict) else None
    if found != parameters:
        raise ConfigError(
            f"{path} holds a sample of other parameters: {found}, not {parameters}",
            "give another directory, or remove this one",
        )
    if state != "complete":
        return False
    lost = [name for name in ("affinity", "truth", "volume.yaml") if not (path / name).exists()]
    if lost:
        raise ConfigError(
            f"{path}: {', '.join(lost)} of the sample is gone",
            "remove the directory, then make the sample again",
        )
    return True


def _begin(path: Path, parameters: dict[str, Any]) -> None:
    """Mark the directory as ours, then take away what an interrupted attempt left."""
    make_directory(path)
    _write_state(path, parameters, "writing")
    for name in ("affinity", "truth"):
        if (path / name).exists():
            shutil.rmtree(path / name)


def _write_state(path: Path, parameters: dict[str, Any], state: str) -> None:
    text = json.dumps({**parameters, "state": state}, indent=2)
    write_atomic(path / "sample.json", text.encode() + b"\n")


def _write_volumes(path: Path, sample: SampleVolume, format: Format) -> None:  # noqa: A002
    affinity, truth = _url(path / "affinity"), _url(path / "truth")
    where = (sample.voxel_size_nm, sample.voxel_offset, _CHUNK)
    if format == "zarr":
        from magneton_tasks.formats.zarr import read as zarr_volumes

        zarr_volumes.write_volume(affinity, sample.affinity, *where)
        zarr_volumes.write_volume(truth, sample.truth, *where)
        return
    from magneton_tasks.formats.precomputed import write as precomputed

    precomputed.write_volume(affinity, sample.affinity, *where)
    precomputed.write_volume(
        truth, sample.truth, *where, encoding="compressed_segmentation", layer_type="segmentation"
    )


def _config_text(path: Path, shape: Vec3, seed: int) -> str:
    from magneton_tasks.sample.volume import VOXEL_SIZE_NM

    block = vec3(_block_size(n) for n in shape)
    return _CONFIG.format(
        shape=" x ".join(map(str, shape)),
        size=" x ".join(f"{s:g}" for s in VOXEL_SIZE_NM),
        seed=seed,
        name=path.name,
        # A JSON string is a YAML string, whatever the path holds.
        input=json.dumps(_url(path / "affinity"), ensure_ascii=False),
        output=json.dumps(_url(path / "segmentation"), ensure_ascii=False),
        work=json.dumps(str(path / "work"), ensure_ascii=False),
        block=list(block),
    )


def _block_size(length: int) -> int:
    """Largest block along an axis: at least two blocks, where that leaves 40 planes or more."""
    return min(128, max(40, length * 5 // 8 // 8 * 8))


def _url(path: Path) -> str:
    return f"file://{path}"
