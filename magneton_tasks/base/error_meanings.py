"""What an errno, an HTTP status or the exception of a library means: one table for all.

`failures` makes one of our errors of it, and says what to do; of files that we write,
`files.writing_failed` does.

Words of a message are never searched: boxes, buckets and paths may hold any of them. Where a class
says nothing, what it came from is asked (``__cause__``, then ``__context__``); what nobody knows is
a bug of ours. Classes are told by their full names and those of their bases, so that no library is
imported for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any

from magneton_tasks.errors import OutOfMemoryError


class Kind(Enum):
    """What went wrong."""

    MEMORY = auto()
    #: no right to it, or no credentials
    DENIED = auto()
    MISSING = auto()
    #: a connection, or a server that is busy: a retry helps
    NETWORK = auto()
    #: a file system that fails now: a retry may help
    FILES = auto()
    #: disk full, quota
    FULL = auto()
    DAMAGED = auto()
    #: a package isn't installed
    PACKAGE = auto()
    #: a URL, a region, a certificate, an encoding: what was asked for can't be done
    SETTING = auto()
    BUG = auto()


# ------------------------------------------------------------------ the table
_CLASSES: dict[Kind, tuple[str, ...]] = {
    Kind.MEMORY: ("builtins.MemoryError",),  # numpy's and Arrow's are of this class
    Kind.DENIED: (
        "botocore.exceptions.NoCredentialsError", "botocore.exceptions.PartialCredentialsError",
        "botocore.exceptions.CredentialRetrievalError", "botocore.exceptions.TokenRetrievalError",
        "botocore.exceptions.SSOError", "google.auth.exceptions.DefaultCredentialsError",
        "google.auth.exceptions.RefreshError", "cloudfiles.exceptions.AuthorizationError",
        "cloudvolume.exceptions.AuthenticationError",
    ),
    Kind.MISSING: (
        "cloudvolume.exceptions.EmptyVolumeException", "cloudvolume.exceptions.InfoUnavailableError",
        "zarr.errors.NodeNotFoundError",
    ),
    Kind.NETWORK: (
        "builtins.ConnectionError", "builtins.TimeoutError", "socket.gaierror", "socket.herror",
        "ssl.SSLError", "http.client.HTTPException", "urllib.error.URLError",
        "urllib3.exceptions.HTTPError", "requests.exceptions.RequestException",
        "botocore.exceptions.ConnectionError", "botocore.exceptions.HTTPClientError",
        "botocore.exceptions.IncompleteReadError", "google.api_core.exceptions.RetryError",
        "google.auth.exceptions.TransportError", "google.resumable_media.common.DataCorruption",
        "google.cloud.storage.exceptions.DataCorruption", "aiohttp.client_exceptions.ClientError",
        # what came isn't what the server says that it holds
        "cloudfiles.exceptions.IntegrityError",
    ),
    Kind.DAMAGED: (
        "zlib.error", "_lzma.LZMAError", "gzip.BadGzipFile", "zipfile.BadZipFile", "brotli.error",
        "deflate.DeflateError", "zstandard.backend_c.ZstdError", "zstandard.backend_cffi.ZstdError",
        "crackle.headers.FormatError", "PIL.UnidentifiedImageError",
        "cloudfiles.exceptions.DecompressionError", "cloudvolume.exceptions.DecodingError",
        "cloudvolume.exceptions.EmptyFileException", "cloudvolume.exceptions.SpecViolation",
        "zarr.errors.MetadataValidationError",
    ),
    Kind.PACKAGE: (
        "builtins.ImportError", "numcodecs.errors.UnknownCodecError", "zarr.errors.UnknownCodecError",
    ),
    Kind.SETTING: (
        "builtins.NotImplementedError",  # so libraries tell of encodings that they don't know
        "ssl.SSLCertVerificationError", "http.client.InvalidURL", "urllib3.exceptions.LocationValueError",
        "requests.exceptions.InvalidURL", "requests.exceptions.MissingSchema",
        "requests.exceptions.InvalidSchema", "requests.exceptions.TooManyRedirects",
        "botocore.exceptions.ProfileNotFound", "botocore.exceptions.NoRegionError",
        "botocore.exceptions.InvalidRegionError", "botocore.exceptions.ParamValidationError",
        "cloudfiles.exceptions.UnsupportedProtocolError",
        "cloudfiles.exceptions.UnsupportedCompressionType",
        "cloudvolume.exceptions.UnsupportedFormatError",
        "cloudvolume.exceptions.UnsupportedProtocolError",
        "cloudvolume.exceptions.UnsupportedCompressionType",
        "cloudvolume.exceptions.OutOfBoundsError", "cloudvolume.exceptions.ScaleUnavailableError",
    ),
    Kind.BUG: ("builtins.NameError", "builtins.TypeError", "builtins.AttributeError"),
}  # fmt: skip
_KIND_OF_CLASS = {name: kind for kind, names in _CLASSES.items() for name in names}

#: What the codecs raise for bytes that aren't theirs; anywhere else it's a bug.
_OF_CODECS = (
    ValueError, EOFError, IndexError, AssertionError, RuntimeError, OverflowError, ZeroDivisionError,
    SystemError, OSError,
)  # fmt: skip

_ERRNOS: dict[Kind, tuple[int, ...]] = {
    Kind.MEMORY: (errno.ENOMEM,),
    Kind.DENIED: (errno.EACCES, errno.EPERM, errno.EROFS),
    Kind.MISSING: (errno.ENOENT, errno.ENOTDIR),
    Kind.FULL: (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    Kind.FILES: (
        errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.EBUSY, errno.EAGAIN, errno.EINTR,
        errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESHUTDOWN,
        errno.ENOLCK, errno.EUCLEAN,
    ),
    Kind.NETWORK: (
        errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET,
        errno.EADDRNOTAVAIL,
    ),
    Kind.SETTING: (errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
}  # fmt: skip
_KIND_OF_ERRNO = {number: kind for kind, numbers in _ERRNOS.items() for number in numbers}

_STATUSES: dict[Kind, tuple[int, ...]] = {
    Kind.DENIED: (401, 403, 407),
    Kind.MISSING: (404, 410),
    Kind.NETWORK: (408, 409, 423, 425, 429),
    Kind.DAMAGED: (416,),  # the file is shorter than what points into it
    Kind.SETTING: (501, 505),
    Kind.FULL: (507,),
}
_KIND_OF_STATUS = {number: kind for kind, numbers in _STATUSES.items() for number in numbers}

#: S3's codes where the status says less, or something else.
_S3_CODES = {
    "RequestTimeout": Kind.NETWORK, "SlowDown": Kind.NETWORK, "Throttling": Kind.NETWORK,
    "RequestLimitExceeded": Kind.NETWORK, "InternalError": Kind.NETWORK,
    "ServiceUnavailable": Kind.NETWORK, "IncompleteBody": Kind.NETWORK, "BadDigest": Kind.NETWORK,
    "ExpiredToken": Kind.DENIED, "InvalidToken": Kind.DENIED, "AccessDenied": Kind.DENIED,
    "InvalidAccessKeyId": Kind.DENIED, "SignatureDoesNotMatch": Kind.DENIED,
    "NoSuchBucket": Kind.MISSING, "NoSuchKey": Kind.MISSING, "InvalidRange": Kind.DAMAGED,
}  # fmt: skip


def kind_of_status(status: int) -> Kind | None:
    """What an HTTP status means; None: it tells of no error."""
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    if status >= 500:
        return Kind.NETWORK
    return Kind.SETTING if status >= 300 else None


def _of_boto(error: Any) -> Kind | None:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _S3_CODES:
        return _S3_CODES[code]
    return kind_of_status(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _of_response(error: Any) -> Kind | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return None if status is None else kind_of_status(int(status))


def _of_attribute(name: str) -> Callable[[Any], Kind | None]:
    def of(error: Any) -> Kind | None:
        status = getattr(error, name, None)
        return None if status is None else kind_of_status(int(status))

    return of


#: Classes that carry a status; those that tell none are what `_CLASSES` says.
_WITH_STATUS: dict[str, Callable[[Any], Kind | None]] = {
    "botocore.exceptions.ClientError": _of_boto,
    "google.api_core.exceptions.GoogleAPICallError": _of_attribute("code"),
    "google.resumable_media.common.InvalidResponse": _of_response,
    "google.cloud.storage.exceptions.InvalidResponse": _of_response,
    "requests.exceptions.HTTPError": _of_response,
    "urllib.error.HTTPError": _of_attribute("code"),
    "aiohttp.client_exceptions.ClientResponseError": _of_attribute("status"),
    "gcsfs.retry.HttpError": _of_attribute("code"),
    "google.auth.exceptions.RefreshError": lambda error: Kind.NETWORK if error.retryable else None,
}
_ENVIRONMENT = type(os.environ).__getitem__.__code__
#: Counts wherever in a chain it stands: whoever wraps these tells less.
_ANYWHERE = frozenset({Kind.MEMORY})
_CERTIFICATE = "ssl.SSLCertVerificationError"
#: Counts where something else failed while it was handled: not what is looked for and may be absent.
_IN_CONTEXT = frozenset({Kind.NETWORK, Kind.FILES, Kind.FULL, Kind.DENIED})


# ------------------------------------------------------------------ telling
def kind_of(error: BaseException, *, decodes: bool = False) -> Kind:
    """What an exception means.

    Parameters
    ----------
    decodes
        It was raised where bytes of others are decoded: ValueError and the like mean damage.
    """
    own, *others = [(e, is_cause, _own_kind(e)) for e, is_cause in _chain(error)]
    links = [own, *others]
    for e, _, kind in links:
        if kind in _ANYWHERE or _CERTIFICATE in _names(e):
            return kind or Kind.SETTING
    if own[2] is not None:
        return own[2]
    for _, is_cause, kind in others:
        if kind is not None and (is_cause or kind in _IN_CONTEXT):
            return kind
    if decodes and any(isinstance(e, _OF_CODECS) for e, is_cause, _ in links if is_cause):
        return Kind.DAMAGED
    return Kind.BUG


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out."""
    return kind_of(error) is Kind.MEMORY


def _own_kind(error: BaseException) -> Kind | None:
    """What an exception's own class, status or number says."""
    for name in _names(error):
        if name in _WITH_STATUS:
            found = _WITH_STATUS[name](error)
            if found is not None:
                return found
        if name in _KIND_OF_CLASS:
            return _KIND_OF_CLASS[name]
    if isinstance(error, OutOfMemoryError):
        return Kind.MEMORY
    if isinstance(error, OSError):
        return _KIND_OF_ERRNO.get(_number(error))
    if isinstance(error, KeyError) and _asked_environment(error):
        return Kind.SETTING
    # Python's whole message: it has no class for it, and no number
    if type(error) is RuntimeError and error.args == ("can't start new thread",):
        return Kind.MEMORY
    return None


def _asked_environment(error: KeyError) -> bool:
    """Whether an environment variable isn't set: the class is that of any missing key."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is _ENVIRONMENT


def _number(error: OSError) -> int:
    """Its errno, also where a library raised the class alone."""
    if error.errno is not None:
        return error.errno
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT
    return errno.EACCES if isinstance(error, PermissionError) else 0


def _names(error: BaseException) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """An exception and what it came from; False: what was being handled when it was raised."""
    seen: set[int] = set()
    waiting: list[tuple[BaseException, bool]] = [(error, True)]
    while waiting:
        e, is_cause = waiting.pop(0)
        if id(e) in seen:
            continue
        seen.add(id(e))
        yield e, is_cause
        # urllib3 and urllib keep it in `reason`, requests and pools of processes in the arguments
        wrapped = [getattr(e, "reason", None), *e.args, *_group(e)]
        waiting += [(w, is_cause) for w in wrapped if isinstance(w, BaseException)]
        if e.__cause__ is not None:
            waiting.append((e.__cause__, is_cause))
        elif e.__context__ is not None and not e.__suppress_context__:
            waiting.append((e.__context__, False))


def _group(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()
