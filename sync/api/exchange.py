"""One exchange: a request goes out, a whole answer comes back, or an OutcomeError says why not.

The sentences here name the host and never the path, which may hold a secret; what libraries say is not
repeated, except the system's own words for a failed connection.
"""

import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests.exceptions
import urllib3.exceptions
from requests.exceptions import ConnectTimeout, ReadTimeout, RequestException
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from connectors import Outcome
from sync.api.guard import BlockedAddress
from sync.api.wire import CONNECT_SECONDS, UNSENT, Wire
from sync.door import OutcomeError

_CHUNK = 1024 * 1024
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_UNPACKED = {"gzip": _GZIP_OR_ZLIB, "x-gzip": _GZIP_OR_ZLIB, "deflate": _GZIP_OR_ZLIB}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of any status; header names in lower case, the body unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def exchange(
    wire: Wire,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    seconds: float,
    most: int,
    writes: bool = False,
) -> Answer:
    """The whole answer within `seconds`, at most `most` bytes of it, packed and unpacked.

    Where the request `writes`, what goes wrong once it was sent is AMBIGUOUS: the change may have been made.
    """
    failure: OutcomeError
    try:
        raw = wire.exchange(method, target, headers, body, seconds).raw
        return _whole(raw, wire.origin.host, most)
    except OutcomeError as error:
        failure = _unknown(error) if writes else error
    except (RequestException, HTTPError, OSError, BlockedAddress) as error:
        failure = _failure(error, wire.origin.host, seconds)
        failure = _unknown(failure) if writes and _sent(error) else failure
    raise failure  # outside, so that no library's error, with the URL in it, hangs on it


def _sent(error: BaseException) -> bool:
    """Whether the request may have reached the vendor."""
    return not any(UNSENT in getattr(cause, "__notes__", ()) for cause in _causes(error))


def _unknown(failure: OutcomeError) -> OutcomeError:
    return OutcomeError(Outcome.AMBIGUOUS, f"{failure.why}; whether the change was made isn't known")


def _whole(raw: Any, host: str, most: int) -> Answer:
    headers = {name.lower(): value for name, value in raw.headers.itermerged()}
    try:
        packed = _read(raw, host, most)
    except BaseException:
        raw.close()  # what is left on the connection belongs to nobody
        raise
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity" or not packed:
        return Answer(raw.status, headers, packed)
    return Answer(raw.status, headers, _unpacked(packed, encoding, host, most))


def _read(raw: Any, host: str, most: int) -> bytes:
    """The body as it came; an announced length is believed as to the refusal, never as to the allotment."""
    announced = raw.length_remaining
    if announced is not None and announced > most:
        raise _too_large(host, announced, most)
    if announced is not None and announced <= _CHUNK:
        return bytes(raw.read(decode_content=False))
    chunks, total = [], 0
    while chunk := raw.read(_CHUNK, decode_content=False):
        chunks.append(chunk)
        total += len(chunk)
        if total > most:
            raise _too_large(host, total, most)
    if total == 0 and announced is None and raw.status == 200 and not raw.chunked:
        raise OutcomeError(Outcome.RETRY, f"{host} ended the connection where the body should begin")
    return b"".join(chunks)


def _unpacked(packed: bytes, encoding: str, host: str, most: int) -> bytes:
    if encoding not in _UNPACKED:
        why = f"{host} answers in the encoding {encoding!r}, though only gzip was asked for"
        raise OutcomeError(Outcome.FAIL_STREAM, why)
    whole, ended = _inflated(packed, _UNPACKED[encoding], most + 1)
    if len(whole) > most:
        raise _too_large(host, len(whole), most)
    if not ended:
        raise OutcomeError(Outcome.RETRY, f"the packed answer of {host} is broken or was cut short")
    return whole


def _inflated(packed: bytes, window: int, most: int) -> tuple[bytes, bool]:
    """At most so many unpacked bytes, of one member or several, and whether the last one came to its end."""
    whole = b""
    while packed and len(whole) < most:
        part = zlib.decompressobj(window)
        try:
            whole += part.decompress(packed, most - len(whole))
        except zlib.error:
            return whole, False
        if not part.eof:
            return whole, False
        packed = part.unused_data
    return whole, True


def _too_large(host: str, size: int, most: int) -> OutcomeError:
    return OutcomeError(
        Outcome.FAIL_STREAM,
        f"the answer of {host} is larger than {most:,} bytes (at least {size:,}): ask for smaller pages, "
        f"or raise TIDELOCK_MAX_BODY",
    )


def _failure(error: Exception, host: str, seconds: float) -> OutcomeError:
    causes = list(_causes(error))
    for kinds, make in _FAILURES:
        found = next((cause for cause in causes if isinstance(cause, kinds)), None)
        if found is not None:
            return make(found, host, seconds)
    return OutcomeError(Outcome.RETRY, f"the connection to {host} broke before the answer was whole")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all it was made from, the first cause first."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting and len(seen) < 32:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return reversed(seen)


def _blocked(error: BaseException, host: str, seconds: float) -> OutcomeError:
    return OutcomeError(Outcome.FAIL_CONNECTION, str(error))


def _broken_tls(error: BaseException, host: str, seconds: float) -> OutcomeError:
    return OutcomeError(Outcome.RETRY, f"{host} ended the TLS connection in the middle")


def _tls(error: BaseException, host: str, seconds: float) -> OutcomeError:
    words = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "it is no TLS"
    return OutcomeError(Outcome.FAIL_CONNECTION, f"no trusted TLS connection to {host}: {words}")


def _refused(error: BaseException, host: str, seconds: float) -> OutcomeError:
    words = getattr(error.__cause__, "strerror", None) or "the connection was refused"
    return OutcomeError(Outcome.RETRY, f"{host} can't be reached: {words}")


def _unreached(error: BaseException, host: str, seconds: float) -> OutcomeError:
    return OutcomeError(Outcome.RETRY, f"{host} can't be reached: no connection in {CONNECT_SECONDS:.0f} seconds")


def _late(error: BaseException, host: str, seconds: float) -> OutcomeError:
    return OutcomeError(Outcome.RETRY, f"{host} was not done within {seconds:.3g} seconds")


def _system(error: BaseException, host: str, seconds: float) -> OutcomeError:
    words = getattr(error, "strerror", None) or "it broke off"
    return OutcomeError(Outcome.RETRY, f"the connection to {host} failed: {words}")


_Make = Callable[[BaseException, str, float], OutcomeError]
_FAILURES: tuple[tuple[tuple[type[BaseException], ...], _Make], ...] = (
    ((BlockedAddress,), _blocked),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), _broken_tls),
    ((NewConnectionError,), _refused),
    ((ConnectTimeoutError, ConnectTimeout), _unreached),
    ((TimeoutError, ReadTimeoutError, ReadTimeout), _late),
    ((ssl.SSLError, urllib3.exceptions.SSLError, requests.exceptions.SSLError), _tls),
    ((OSError,), _system),
)
