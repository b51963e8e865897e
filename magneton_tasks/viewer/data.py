"""Answers to requests for a volume's files: ranges, etags, encodings, CORS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from magneton_tasks.errors import MagnetonError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.viewer import volume_files
from magneton_tasks.viewer.layers import Shown
from magneton_tasks.viewer.volume_files import OpenFile

NO_STORE = {"Cache-Control": "no-store"}
#: Any page may read, if it knows the token; no cookie is ever sent along.
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, ETag",
}
_PREFLIGHT = {
    **_CORS,
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "If-None-Match, If-Range, Range",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}
#: Chunks are written while one looks: the browser asks each time whether its copy still holds.
_FRESH = {**_CORS, "Cache-Control": "no-cache"}
#: What is sent in one piece, in bytes; more (a shard as a whole) is sent piece by piece.
_PIECE_BYTES = 4 << 20


def data_endpoint(shown: Sequence[Shown]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of ``data/<n>/<name>``."""
    places = {n: (one.root, one.info.format) for n, one in enumerate(shown) if one.root}

    async def data(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        place = places.get(request.path_params["n"])
        if place is None:
            return _absent()
        # In a thread: a lagging file system must not hold up the other requests.
        return await asyncio.to_thread(_answer, request, *place)

    return data


def _absent() -> Response:
    """A missing chunk may be there at the next look: never cached."""
    return PlainTextResponse("no such file", 404, {**_CORS, **NO_STORE})


def _answer(request: Request, root: Path, format: str) -> Response:  # noqa: A002
    name = request.path_params["name"]
    try:
        file = volume_files.open_inside(root, name, format)
    except OSError as error:
        status = 403 if isinstance(error, PermissionError) else 503
        return PlainTextResponse(
            f"can't read {name}: {error.strerror}", status, {**_CORS, **NO_STORE}
        )
    if file is None:
        return _absent()
    try:
        return _respond(request, root, file)
    except BaseException:
        file.close()
        raise


def _respond(request: Request, root: Path, file: OpenFile) -> Response:
    """The answer; closes the file, or hands it to a stream that does."""
    headers = {**_FRESH, "ETag": file.etag, "Content-Type": _type_of(request.path_params["name"])}
    given = request.headers
    if volume_files.has_etag(given.get("if-none-match"), file.etag):
        file.close()
        return Response(status_code=304, headers=headers)
    if file.encoding is not None:
        return _encoded(request, root, file, headers)
    headers["Accept-Ranges"] = "bytes"
    wanted = given.get("range")
    if "if-range" in given and not volume_files.has_etag(given["if-range"], file.etag):
        wanted = None
    try:
        span = volume_files.parse_range(wanted, file.size)
    except volume_files.UnsatisfiableRangeError:
        file.close()
        return Response(
            status_code=416, headers={**_CORS, **NO_STORE, "Content-Range": f"bytes */{file.size}"}
        )
    begin, end = span or (0, file.size)
    if span is not None:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
    status = 200 if span is None else 206
    return _part(request, file, headers, begin, end, status)


def _part(
    request: Request, file: OpenFile, headers: dict[str, str], begin: int, end: int, status: int
) -> Response:
    """The stored bytes from ``begin`` to ``end``; what is large isn't held."""
    headers["Content-Length"] = str(end - begin)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers)
    if end - begin > _PIECE_BYTES:
        return StreamingResponse(_pieces(file, begin, end), status, headers)
    content = os.pread(file.descriptor, end - begin, begin)
    file.close()
    if len(content) < end - begin:  # cut short since it was opened
        return PlainTextResponse("the file is changing", 503, {**_CORS, **NO_STORE})
    return Response(content, status, headers)


def _encoded(request: Request, root: Path, file: OpenFile, headers: dict[str, str]) -> Response:
    """A compressed chunk: as it is, with its encoding, where the client takes that.

    A range would be one of compressed bytes, which nobody means: the whole is sent.
    """
    headers["Vary"] = "Accept-Encoding"
    encoding = file.encoding or ""
    if volume_files.accepts(request.headers.get("accept-encoding"), encoding):
        headers["Content-Encoding"] = encoding
        return _part(request, file, headers, 0, file.size, 200)
    try:
        content = _inflated(root, request.path_params["name"], file)
    except MagnetonError as error:
        file.close()
        return PlainTextResponse(str(error), 503, {**_CORS, **NO_STORE})
    file.close()
    headers["ETag"] = file.etag.removesuffix('"') + '-plain"'
    headers["Content-Length"] = str(len(content))
    return Response(b"" if request.method == "HEAD" else content, headers=headers)


def _inflated(root: Path, name: str, file: OpenFile) -> bytes:
    """A compressed chunk's bytes, no more than the volume's ``info`` allows.

    Raises
    ------
    MagnetonError
        It holds more, is damaged, or ``info`` doesn't know its scale.
    """
    from magneton_tasks.formats.inflating import BESIDE, decompress, most_encoded

    info = _scale_of(root, name.rpartition("/")[0])
    shape = (info.channels, *info.chunk_size)
    most = most_encoded(shape, info.dtype, info.encoding, info.cseg_block)
    # Compression may make noise a little longer.
    data = os.pread(file.descriptor, most + most // 8 + BESIDE, 0)
    return decompress(data, file.path, most)


def _scale_of(root: Path, key: str) -> VolumeInfo:
    """The mip whose chunks lie in a directory of a precomputed volume."""
    for mip in count():
        info = read_metadata(
            f"precomputed://file://{root}", mip
        )  # refuses the first that isn't one
        if info.array == key:
            return info
    raise AssertionError


async def _pieces(file: OpenFile, begin: int, end: int) -> AsyncIterator[bytes]:
    try:
        while begin < end:
            piece = await asyncio.to_thread(
                os.pread, file.descriptor, min(_PIECE_BYTES, end - begin), begin
            )
            if not piece:
                return  # cut short: the client sees fewer bytes than it was told
            begin += len(piece)
            yield piece
    finally:
        file.close()


def _type_of(name: str) -> str:
    metadata = name.rpartition("/")[2] in ("info", "zarr.json", ".zarray", ".zattrs", ".zgroup")
    return "application/json" if metadata else "application/octet-stream"
