"""What the exceptions of libraries mean: real ones, of every library that may raise here."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import lzma
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPMessage, IncompleteRead
from typing import Any

import brotli
import cloudfiles.exceptions
import cloudvolume.exceptions
import deflate
import google.api_core.exceptions
import google.auth.exceptions
import numcodecs.errors
import numpy as np
import pyarrow as pa
import pytest
import requests
import urllib3.exceptions
import zarr.errors
import zstandard
from botocore import exceptions as boto

from magneton_tasks.base.error_meanings import Kind, kind_of
from magneton_tasks.base.failures import ours, telling
from magneton_tasks.cli import main
from magneton_tasks.errors import (
    EXIT_BAD_DATA,
    EXIT_BUG,
    EXIT_CONFIG,
    EXIT_IO,
    EXIT_NO_INPUT,
    EXIT_TEMPORARY,
    BadDataError,
    MagnetonError,
    OutOfMemoryError,
    StoppedError,
)

WHERE = "s3://lab-403/aff, box 401:412,0:64,500:503 (z, y, x)"


def s3(status: int, code: str) -> Exception:
    response: Any = {
        "Error": {"Code": code, "Message": "x"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error: Exception = boto.ClientError(response, "GetObject")
    return error


def http(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for url of box 401:412", response=response)


def urllib_http(status: int) -> Exception:
    return urllib.error.HTTPError("http://x/403", status, "x", HTTPMessage(), None)


def os_error(number: int) -> Exception:
    return OSError(number, os.strerror(number), "/data/401/403")


def raised(call: Callable[[], object]) -> Exception:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def chained(outer: Exception, inner: Exception, *, context: bool = False) -> Exception:
    """``raise outer from inner``, or raised while ``inner`` was handled."""

    def call() -> None:
        try:
            raise inner
        except Exception:
            if context:
                raise outer  # noqa: B904
            raise outer from inner

    return raised(call)


def array_too_large() -> object:
    return np.empty(2**62, np.uint8)


def pool_too_large() -> object:
    return pa.allocate_buffer(2**62)


def certificate() -> Exception:
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed")
    retries = urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.SSLError(inner))  # type: ignore[arg-type]
    return requests.exceptions.SSLError(retries)


CLOUD: Any = google.api_core.exceptions
EXPIRED = google.auth.exceptions.RefreshError("expired")  # type: ignore[no-untyped-call]
BUSY_TOKENS = google.auth.exceptions.RefreshError("busy", retryable=True)  # type: ignore[no-untyped-call]
NO_ADC = google.auth.exceptions.DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

#: what was raised, and the exit code of what becomes of it
MET: list[tuple[Exception, int]] = [
    # object stores: by status, and by S3's code
    (s3(503, "SlowDown"), EXIT_TEMPORARY),
    (s3(500, "InternalError"), EXIT_TEMPORARY),
    (s3(400, "RequestTimeout"), EXIT_TEMPORARY),
    (s3(429, "TooManyRequests"), EXIT_TEMPORARY),
    (s3(404, "NoSuchBucket"), EXIT_NO_INPUT),
    (s3(404, "404"), EXIT_NO_INPUT),
    (s3(403, "AccessDenied"), EXIT_NO_INPUT),
    (s3(403, "403"), EXIT_NO_INPUT),
    (s3(400, "ExpiredToken"), EXIT_NO_INPUT),
    (s3(301, "PermanentRedirect"), EXIT_CONFIG),
    (s3(400, "AuthorizationHeaderMalformed"), EXIT_CONFIG),
    (boto.NoCredentialsError(), EXIT_NO_INPUT),
    (boto.EndpointConnectionError(endpoint_url="http://x:403"), EXIT_TEMPORARY),
    (boto.ReadTimeoutError(endpoint_url="http://x"), EXIT_TEMPORARY),
    (boto.IncompleteReadError(actual_bytes=401, expected_bytes=403), EXIT_TEMPORARY),
    (boto.ProfileNotFound(profile="x"), EXIT_CONFIG),
    (boto.NoRegionError(), EXIT_CONFIG),
    (CLOUD.ServiceUnavailable("403"), EXIT_TEMPORARY),
    (CLOUD.TooManyRequests("401"), EXIT_TEMPORARY),
    (CLOUD.NotFound("x"), EXIT_NO_INPUT),
    (CLOUD.Forbidden("x"), EXIT_NO_INPUT),
    (CLOUD.Unauthorized("x"), EXIT_NO_INPUT),
    (NO_ADC, EXIT_NO_INPUT),
    (EXPIRED, EXIT_NO_INPUT),
    (BUSY_TOKENS, EXIT_TEMPORARY),
    *[(http(n), EXIT_TEMPORARY) for n in (408, 429, 500, 502, 503, 504)],
    *[(http(n), EXIT_NO_INPUT) for n in (401, 403, 404, 410)],
    (http(416), EXIT_BAD_DATA),
    (http(501), EXIT_CONFIG),
    (urllib_http(503), EXIT_TEMPORARY),
    (urllib_http(403), EXIT_NO_INPUT),
    (requests.ConnectionError("reset, 401"), EXIT_TEMPORARY),
    (requests.exceptions.ChunkedEncodingError("403"), EXIT_TEMPORARY),
    (requests.exceptions.InvalidURL("x"), EXIT_CONFIG),
    (certificate(), EXIT_CONFIG),
    (urllib3.exceptions.ProtocolError("broken"), EXIT_TEMPORARY),
    (IncompleteRead(b"401", 403), EXIT_TEMPORARY),
    (socket.gaierror(-3, "Temporary failure in name resolution"), EXIT_TEMPORARY),
    (ssl.SSLError(1, "wrong version"), EXIT_TEMPORARY),  # 1 isn't EPERM here
    (ConnectionResetError(errno.ECONNRESET, "reset"), EXIT_TEMPORARY),
    (TimeoutError("401"), EXIT_TEMPORARY),
    (cloudfiles.exceptions.AuthorizationError("http 401"), EXIT_NO_INPUT),
    (cloudfiles.exceptions.MD5IntegrityError("x"), EXIT_TEMPORARY),
    (cloudfiles.exceptions.UnsupportedProtocolError("x"), EXIT_CONFIG),
    # file systems: by number
    *[(os_error(n), EXIT_IO) for n in (errno.ENOSPC, errno.EDQUOT)],
    *[(os_error(n), EXIT_TEMPORARY) for n in (errno.EIO, errno.ESTALE, errno.ENOTCONN)],
    *[(os_error(n), EXIT_NO_INPUT) for n in (errno.EACCES, errno.EPERM, errno.ENOENT)],
    (PermissionError("no right to it"), EXIT_NO_INPUT),
    (FileNotFoundError("403"), EXIT_NO_INPUT),
    # packages and encodings
    (ModuleNotFoundError("No module named 'fpzip'", name="fpzip"), EXIT_CONFIG),
    (numcodecs.errors.UnknownCodecError("pcodec"), EXIT_CONFIG),
    (zarr.errors.UnknownCodecError("Unknown codec: 'pcodec'"), EXIT_CONFIG),
    (NotImplementedError("jpegxl"), EXIT_CONFIG),
    (raised(lambda: os.environ["MAGNETON_NEVER_SET"]), EXIT_CONFIG),
    (cloudvolume.exceptions.OutOfBoundsError("x"), EXIT_CONFIG),
    (cloudvolume.exceptions.EmptyVolumeException("x"), EXIT_NO_INPUT),
    # bytes that aren't what they should be, whoever decodes them
    (raised(lambda: zlib.decompress(b"401")), EXIT_BAD_DATA),
    (raised(lambda: gzip.decompress(b"not gzip")), EXIT_BAD_DATA),
    (raised(lambda: lzma.decompress(b"401")), EXIT_BAD_DATA),
    (raised(lambda: brotli.decompress(b"401")), EXIT_BAD_DATA),
    (raised(lambda: deflate.gzip_decompress(gzip.compress(b"x")[:-9] + b"123456789")), EXIT_BAD_DATA),
    (raised(lambda: zstandard.ZstdDecompressor().decompress(b"403")), EXIT_BAD_DATA),
    (raised(lambda: zipfile.ZipFile("/dev/null")), EXIT_BAD_DATA),
    (cloudfiles.exceptions.DecompressionError("x"), EXIT_BAD_DATA),
    (cloudvolume.exceptions.EmptyFileException("x"), EXIT_BAD_DATA),
    # what nobody knows
    (NameError("name 'fpzip' is not defined"), EXIT_BUG),
    (TypeError("401"), EXIT_BUG),
    (AttributeError("x"), EXIT_BUG),
    (ValueError("connection reset, 503"), EXIT_BUG),
    (KeyError("AWS_SESSION_TOKEN"), EXIT_BUG),
    (RuntimeError("dictionary changed size during iteration"), EXIT_BUG),
    (type("NoSuchBucket", (Exception,), {})("not boto's"), EXIT_BUG),
    # what it came from
    (chained(RuntimeError("x"), http(503)), EXIT_TEMPORARY),
    (chained(RuntimeError("x"), http(403)), EXIT_NO_INPUT),
    (chained(Exception("x"), ConnectionResetError("x"), context=True), EXIT_TEMPORARY),
    (chained(ValueError("x"), FileNotFoundError(2, "x"), context=True), EXIT_BUG),
    (chained(NameError("x"), TimeoutError("x"), context=True), EXIT_BUG),
    (Exception(TimeoutError("of a pool's process")), EXIT_TEMPORARY),
    (ExceptionGroup("of tasks", [TimeoutError("x")]), EXIT_TEMPORARY),
]  # fmt: skip

OUT_OF_MEMORY: list[Exception] = [
    MemoryError(),
    raised(array_too_large),
    raised(pool_too_large),
    RuntimeError("can't start new thread"),
    os_error(errno.ENOMEM),
    chained(RuntimeError("a codec failed"), MemoryError()),
    chained(ValueError("a codec failed"), MemoryError(), context=True),
]


def named(value: object) -> str:
    return f"{type(value).__name__}-{str(value)[:25]}" if isinstance(value, Exception) else ""


@pytest.mark.parametrize(("error", "code"), MET, ids=named)
def test_exit_codes(error: Exception, code: int) -> None:
    with pytest.raises(MagnetonError) as told, telling(WHERE):
        raise error
    assert told.value.exit_code == code
    assert WHERE in told.value.what and told.value.hint
    assert told.value.__cause__ is error, "its traceback is lost"


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=named)
@pytest.mark.parametrize("decodes", [False, True])
def test_out_of_memory_is_never_anything_else(error: Exception, decodes: bool) -> None:
    with pytest.raises(MemoryError) as told, telling(WHERE, decodes=decodes):
        raise error
    found = ours(told.value)
    assert isinstance(found, OutOfMemoryError) and WHERE in found.what


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=named)
def test_out_of_memory_is_found_below_what_a_store_made_of_it(error: Exception) -> None:
    found = ours(chained(BadDataError("a.zarr is damaged"), error))
    assert isinstance(found, OutOfMemoryError) and "a.zarr" in found.what
    stopped = StoppedError("stopped by SIGTERM")
    assert ours(chained(stopped, error, context=True)) is stopped


#: What codecs raise for bytes that aren't theirs, which is a bug anywhere else.
OF_CODECS: list[Exception] = [
    ValueError("cannot reshape array of size 401"),
    raised(lambda: json.loads("{")),
    RuntimeError("error during blosc decompression: -1"),
    IndexError("x"),
    EOFError("x"),
    AssertionError(),
    OSError("Invalid data stream"),  # bz2
    raised(lambda: bz2.decompress(b"no bzip2, whatever it is")),
]


@pytest.mark.parametrize("error", OF_CODECS, ids=named)
def test_damage_where_bytes_are_decoded(error: Exception) -> None:
    assert kind_of(error, decodes=True) is Kind.DAMAGED
    assert kind_of(error) is Kind.BUG


#: Bugs wherever they are met; other classes that nobody knows are damage where bytes are decoded.
_BUGS = (NameError, TypeError, AttributeError)
KNOWN = [(e, code) for e, code in MET if code != EXIT_BUG or isinstance(e, _BUGS)]


@pytest.mark.parametrize(("error", "code"), KNOWN, ids=named)
def test_what_is_known_stays_so_where_bytes_are_decoded(error: Exception, code: int) -> None:
    with pytest.raises(MagnetonError) as told, telling(WHERE, decodes=True):
        raise error
    assert told.value.exit_code == code


def test_an_output_that_cannot_be_reached_is_no_missing_input() -> None:
    for error in (s3(404, "NoSuchBucket"), s3(403, "AccessDenied")):
        with pytest.raises(MagnetonError) as told, telling(WHERE, writes=True):
            raise error
        assert told.value.exit_code == EXIT_CONFIG


def test_a_thread_that_has_no_room_says_so_in_these_words() -> None:
    """The table knows Python's message for it: there is neither a class nor a number."""
    code = (
        "import resource, threading\n"
        "threading.stack_size(1 << 30)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "threading.Thread(target=print).start()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "RuntimeError: can't start new thread"
    assert threading.stack_size() == 0  # of this process: untouched


# ------------------------------------------------------------------ the command line
BUG_BELOW = chained(MagnetonError("s3://b/aff: TypeError: x", "report it"), TypeError("x"))
ENDS: list[tuple[Exception, int, bool]] = [
    (MemoryError(), EXIT_TEMPORARY, False),
    (os_error(errno.ENOMEM), EXIT_TEMPORARY, False),
    (os_error(errno.ENOSPC), EXIT_IO, False),
    (OSError("of a library, without a number"), EXIT_IO, False),
    (ConnectionResetError(errno.ECONNRESET, "reset"), EXIT_TEMPORARY, False),
    (BadDataError("a chunk is damaged"), EXIT_BAD_DATA, False),
    (TypeError("x"), EXIT_BUG, True),
    (BUG_BELOW, EXIT_BUG, True),
]


@pytest.mark.parametrize(("error", "code", "has_trace"), ENDS, ids=named)
def test_commands_end_with_the_code_and_bugs_with_their_traceback(
    error: Exception,
    code: int,
    has_trace: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(**_: Any) -> None:
        raise error

    monkeypatch.setattr(main.cli, "main", failing)
    with pytest.raises(SystemExit) as ended:
        main.main([])
    told = capsys.readouterr().err
    assert ended.value.code == code
    assert "error: " in told and ("in failing" in told) is has_trace
