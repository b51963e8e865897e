"""Zarr's view of a bucket or a web server, for reading: through cloud-files, as all other files there.

zarr-python's own stores would need a library of each kind, with credentials and retries of their
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
)
from zarr.core.buffer import Buffer, BufferPrototype

from magneton_tasks.base.location import cloud_files
from magneton_tasks.base.web import check_absent


class BucketStore(Store):
    """What lies below a URL of cloud-files; it can be neither written nor listed."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, url: str) -> None:
        super().__init__(read_only=True)
        self.url = url
        self._files = cloud_files(url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketStore) and other.url == self.url

    __hash__ = None  # type: ignore[assignment]

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """A file, or a part of it; None where it isn't there."""
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    def _read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        if wanted is None:
            found: bytes | None = self._files.get(key)
        else:
            found = self._part(key, wanted)
        if found is None:
            check_absent(f"{self.url}/{key}")
        return found

    def _part(self, key: str, wanted: ByteRequest) -> bytes | None:
        if isinstance(wanted, RangeByteRequest):
            begin, end = wanted.start, wanted.end
        else:
            if not self._files.exists(key):  # whose size can't be asked
                return None
            end = int(self._files.size(key))
            begin = wanted.offset if isinstance(wanted, OffsetByteRequest) else end - wanted.suffix
        begin = max(begin, 0)
        part: bytes | None = self._files.get({"path": key, "start": begin, "end": end})
        if part is not None and len(part) > end - begin:  # a server that knows no ranges sends all
            return part[begin:end]
        return part

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """As `get`, of several."""
        wanted = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*wanted))

    async def exists(self, key: str) -> bool:
        """Whether a file is there."""
        return bool(await asyncio.to_thread(self._files.exists, key))

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError("this store is for reading")

    async def delete(self, key: str) -> None:
        raise NotImplementedError("this store is for reading")

    def list(self) -> AsyncIterator[str]:
        raise NotImplementedError("this store isn't listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError("this store isn't listed")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError("this store isn't listed")
