"""A small Google Cloud Storage on loopback: what its Python client asks of the JSON API for objects."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_PAGE = 100


@dataclass
class Blob:
    data: bytes
    generation: int
    updated: datetime
    metadata: dict[str, Any]

    def resource(self, bucket: str, name: str) -> dict[str, Any]:
        return {
            **self.metadata,
            "bucket": bucket,
            "name": name,
            "generation": str(self.generation),
            "size": str(len(self.data)),
            "updated": self.updated.isoformat().replace("+00:00", "Z"),
            "md5Hash": base64.b64encode(hashlib.md5(self.data).digest()).decode(),
        }


@dataclass
class GoogleServer:
    """Buckets by name, objects by name."""

    buckets: dict[str, dict[str, Blob]] = field(default_factory=dict)
    #: no request may write
    is_read_only: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    _generation: int = 1

    def start(self) -> str:
        """Begin to serve; the address."""
        owner = self

        class Handler(_Handler):
            server_data = owner

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def put(self, bucket: str, name: str, data: bytes, metadata: dict[str, Any]) -> Blob:
        self._generation += 1
        blob = Blob(data, self._generation, datetime.now(UTC), metadata)
        self.buckets[bucket][name] = blob
        return blob

    def make_old(self, bucket: str, name: str, age_s: float) -> None:
        self.buckets[bucket][name].updated = datetime.now(UTC) - timedelta(seconds=age_s)


class _RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    server_data: GoogleServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        at = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(at.query).items()}
        bucket, _, rest = at.path.partition("/b/")[2].partition("/o")
        name = unquote(rest.lstrip("/"))
        with self.server_data.lock:
            try:
                if self.command != "GET" and self.server_data.is_read_only:
                    raise _RefusedError(403, "this account may not write")
                blobs = self.server_data.buckets.get(bucket)
                if blobs is None:
                    raise _RefusedError(404, "The specified bucket does not exist.")
                self._object(bucket, blobs, name)
            except _RefusedError as refused:
                error = {"error": {"code": refused.code, "message": str(refused)}}
                self._answer(refused.code, json.dumps(error).encode())

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 (the names that the base class calls)

    def _object(self, bucket: str, blobs: dict[str, Blob], name: str) -> None:
        if self.command == "POST":
            metadata, data = self._parts()
            name = metadata.pop("name", None) or self.query["name"]
            self._check(blobs.get(name))
            blob = self.server_data.put(bucket, name, data, metadata)
            self._json(blob.resource(bucket, name))
        elif not name:
            self._json(self._listed(bucket, blobs))
        elif name not in blobs:
            raise _RefusedError(404, f"No such object: {bucket}/{name}")
        elif self.command == "DELETE":
            self._check(blobs[name])
            del blobs[name]
            self._answer(204, b"")
        elif self.query.get("alt") == "media":
            self._check(blobs[name])
            self._media(blobs[name])
        else:
            self._json(blobs[name].resource(bucket, name))

    def _check(self, blob: Blob | None) -> None:
        wanted = self.query.get("ifGenerationMatch")
        if wanted is not None and int(wanted) != (blob.generation if blob else 0):
            raise _RefusedError(
                412, "At least one of the pre-conditions you specified did not hold."
            )

    def _parts(self) -> tuple[dict[str, Any], bytes]:
        """Metadata and content of a multipart upload."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + self.body).get_payload()
        assert isinstance(parts, list)
        assert isinstance(parts[0], Message)
        described = parts[0].get_payload(decode=True)
        assert isinstance(described, bytes)
        # the parser takes content for text: cut it out of the body instead
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        content = self.body.split(b"--" + boundary)[2].partition(b"\r\n\r\n")[2]
        return json.loads(described), content.removesuffix(b"\r\n")

    def _listed(self, bucket: str, blobs: dict[str, Blob]) -> dict[str, Any]:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
        names = sorted(n for n in blobs if n.startswith(prefix))
        items, prefixes = [], set()
        for name in names:
            inside, found, _ = name[len(prefix) :].partition(delimiter or "\0")
            if delimiter and found:
                prefixes.add(prefix + inside + delimiter)
            else:
                items.append(blobs[name].resource(bucket, name))
        begin = int(self.query.get("pageToken", 0))
        page: dict[str, Any] = {"items": items[begin : begin + _PAGE]}
        if begin == 0:
            page["prefixes"] = sorted(prefixes)
        if begin + _PAGE < len(items):
            page["nextPageToken"] = str(begin + _PAGE)
        return page

    def _media(self, blob: Blob) -> None:
        data, headers = blob.data, {"X-Goog-Generation": str(blob.generation)}
        encoding = blob.metadata.get("contentEncoding")
        if encoding == "gzip" and "gzip" not in self.headers.get("Accept-Encoding", ""):
            data = gzip.decompress(data)  # Google does it for those who don't say they can
        elif encoding:
            headers["Content-Encoding"] = encoding
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            self._answer(200, data, headers)
            return
        begin, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        self._answer(206, data[begin:end], headers)

    def _json(self, content: dict[str, Any]) -> None:
        self._answer(200, json.dumps(content).encode())

    def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
