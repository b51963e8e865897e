"""Neuroglancer precomputed layers that we create: ``info`` and owner file, each written atomically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magneton_tasks.base import files
from magneton_tasks.base.geometry import Box, Size3, Vec3, vec3
from magneton_tasks.base.location import locate
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed.info import build_info, make_scales
from magneton_tasks.formats.precomputed.metadata import chunk_name
from magneton_tasks.formats.precomputed.owner import OWNER_FILE
from magneton_tasks.formats.precomputed.sharding import SHARD_SUFFIX
from magneton_tasks.formats.precomputed.store import Array, PrecomputedStore


def create_segmentation(
    url: str,
    box: Box,
    voxel_size_nm: Size3,
    chunk_size: Vec3,
    encoding: str = "compressed_segmentation",
    mip_factors: Sequence[Vec3] = (),
    compress: str | None = "gzip",
    *,
    replace: bool = False,
    owner: Mapping[str, Any] | None = None,
    check_only: bool = False,
    other_form: bool = False,
    cells: Sequence[Vec3] = (),
) -> PrecomputedStore:
    """Write the ``info`` of a uint64 segmentation (or find the same one) and return its store.

    Parameters
    ----------
    url
        ``file://``, ``gs://``, ``s3://`` or a plain path.
    box
        The whole volume at mip 0, in voxels.
    mip_factors
        Of each mip after 0, relative to mip 0: ``[(1, 2, 2), (1, 4, 4)]``.
    replace
        Replace an ``info`` that says something else, or that can't be read.
    owner
        Written before the ``info``: a layer without an owner isn't ours, whoever is killed when.
    check_only
        Write nothing; only refuse what can't be written.
    other_form
        Shards may come beside chunks that lie there, or chunks beside shards: readers look for what
        the ``info`` tells of, and for nothing else.
    cells
        As of `info.make_scales`: sharded, where there are any.

    Raises
    ------
    ConfigError
        An encoding that can't be written, or an output with another ``info`` or compression.
    """
    return _create(
        url,
        box,
        voxel_size_nm,
        chunk_size,
        encoding,
        mip_factors,
        compress,
        dtype="uint64",
        channels=1,
        kind="segmentation",
        replace=replace,
        sync=True,
        owner=owner,
        check_only=check_only,
        other_form=other_form,
        cells=cells,
    )


def _create(
    url: str,
    box: Box,
    voxel_size_nm: Size3,
    chunk_size: Vec3,
    encoding: str,
    mip_factors: Sequence[Vec3],
    compress: str | None,
    *,
    dtype: str,
    channels: int,
    kind: str,
    replace: bool,
    sync: bool,
    owner: Mapping[str, Any] | None = None,
    check_only: bool = False,
    other_form: bool = False,
    cells: Sequence[Vec3] = (),
) -> PrecomputedStore:
    codec.check_encoding(encoding, dtype)
    if compress not in (None, "gzip"):
        raise ConfigError(f"compress: {compress!r} can't be written", "use gzip or null")
    objects = Objects(locate(url), sync=sync)
    scales = make_scales(box, voxel_size_nm, mip_factors, chunk_size, cells, compress)
    store = PrecomputedStore(url, scales, encoding, dtype, channels, compress, objects=objects)
    info = build_info(scales, encoding, dtype, channels, kind)
    existing = None if replace else objects.get_json("info")
    if existing is not None:
        different = sorted(k for k in info if existing.get(k) != info[k])
        if different:
            raise ConfigError(
                f"{url} already holds a precomputed layer with another {', '.join(different)}",
                "choose another output, or replace it with --overwrite-output",
            )
    if existing is not None or replace:
        _check_names(store, other_form or existing is not None)
    if check_only:
        return store
    if owner is not None:
        objects.put_json(OWNER_FILE, owner)
    if replace:
        existing = _readable_info(objects)
    if existing is None or owner is not None or existing | info != existing:
        objects.put_json("info", info)
    return store


def _readable_info(objects: Objects) -> dict[str, Any] | None:
    """The ``info``; one that isn't JSON is moved aside: it may be all that tells what happened to the disk."""
    try:
        return objects.get_json("info")
    except BadDataError:
        if objects.is_local:
            files.move_aside(objects.path("info"), "it isn't JSON")
        return None


def _check_names(store: PrecomputedStore, other_form: bool) -> None:
    """Refuse to put ``name.gz`` beside ``name``, as a reader would take either one, or another form beside one."""
    for scale in store.scales if store.objects.is_local else ():
        for name in store.objects.some_names(scale.key):
            box, is_shard = codec.chunk_box(name), name.endswith(SHARD_SUFFIX)
            is_other = is_shard if scale.sharding is None else box is not None
            if is_other and not other_form:
                there, wanted = ("shards", "chunks") if is_shard else ("chunks", "shards")
                raise ConfigError(
                    f"{store.url} holds {there} ({scale.key}/{name}), and {wanted} would be written beside them",
                    "set apply.sharding as it was, choose another output, or replace what Magneton "
                    "wrote there with --overwrite-output",
                )
            if not is_other and box is not None and name != chunk_name(box) + store.suffix:
                raise ConfigError(
                    f"{store.url} holds chunks of another compression ({scale.key}/{name}) than "
                    f"{store.compress}",
                    "set apply.compress as it was, or choose another output",
                )


def write_volume(
    url: str,
    array: Array,
    voxel_size_nm: Size3,
    voxel_offset: Vec3 = (0, 0, 0),
    chunk_size: Vec3 = (64, 64, 64),
    encoding: str = "raw",
    layer_type: str = "image",
    compress: str | None = "gzip",
) -> None:
    """Write an array as a precomputed layer of one mip.

    Parameters
    ----------
    array
        (c, z, y, x), or (z, y, x) for one channel; any dtype that the encoding holds.
    layer_type
        ``image`` or ``segmentation``.

    Raises
    ------
    ConfigError
        Another layer lies there, or the encoding doesn't hold the dtype.
    """
    data = array if array.ndim == 4 else array[np.newaxis]
    box = Box.of_shape(vec3(data.shape[1:]), voxel_offset)
    store = _create(
        url,
        box,
        voxel_size_nm,
        chunk_size,
        encoding,
        (),
        compress,
        dtype=data.dtype.name,
        channels=len(data),
        kind=layer_type,
        replace=False,
        sync=False,
    )
    store.write(0, box, data)
