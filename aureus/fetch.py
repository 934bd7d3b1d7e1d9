"""The only way out by HTTP: one request, one connection, one deadline for all of it.

A connection is never kept: an old process that drains still answers on it, about the wrong version.
"""

import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

MAX_BYTES = 1_048_576
TIMEOUT = 5.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "upgrade", "te"})


class FetchError(Exception):
    """No answer could be had. `kind` is url, request, address, dns, connect, tls, timeout, too_large or protocol."""

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names in lower case, the body in full, and how long it all took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    def text(self) -> str:
        """The body as UTF-8; what is not is replaced."""
        return self.body.decode("utf-8", "replace")


def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    allow_private: bool = False,
) -> Answer:
    """Send one request and read its whole answer within `timeout` seconds. Redirects are answered, not followed.

    `allow_private` is for addresses that an administrator declared. Raises FetchError.
    """
    started = time.monotonic()
    ends = started + timeout
    parts = _checked_url(url)
    with _spoken(f"{parts.scheme}://{parts.netloc}"):
        family, address = _resolved(parts, ends, allow_private)
        connection = _Connection(parts, family, address, ends)
        try:
            answer = _exchange(connection, method, parts, headers or {}, body)
            octets = _read(answer, max_bytes)
            found = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.hang_up()
    return Answer(answer.status, found, octets, time.monotonic() - started)


def _checked_url(url: str) -> SplitResult:
    # urlsplit drops line breaks in silence, so they are looked for first.
    if not url.isascii() or any(letter <= " " or letter == "\x7f" for letter in url) or "\\" in url:
        raise FetchError(f"{url!r} is no address: spaces, line breaks and letters beyond ASCII must be encoded.", "url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchError(f"{url!r} is no address: {error}.", "url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise FetchError(f"{url!r} must begin with http:// or https:// and name a host.", "url")
    if "@" in parts.netloc:
        raise FetchError("An address must not carry a user name or password: send a header instead.", "url")
    return parts


def _resolved(parts: SplitResult, ends: float, allow_private: bool) -> tuple[int, str]:
    """Answer the one address to connect to; every address of the name must be allowed."""
    host = str(parts.hostname)
    found = _lookup(host, ends)
    for _, address in found:
        _check_address(address, allow_private)
    return found[0]


def _check_address(address: str, allow_private: bool) -> None:
    """Refuse what no request may reach: metadata servers, link-local, multicast; private ones unless declared."""
    ip = _embedded(ipaddress.ip_address(address.partition("%")[0]))
    forbidden = ip.is_link_local or ip.is_unspecified or ip.is_multicast or ip.is_reserved or ip in _METADATA
    if forbidden and not ip.is_loopback:
        raise FetchError(
            f"The address {ip} must not be asked: it is link-local, reserved or a metadata server.", "address"
        )
    if not allow_private and not ip.is_global:
        raise FetchError(f"The address {ip} is private: only a declared host may be there.", "address")


def _embedded(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Answer the IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour or ip


def _lookup(host: str, ends: float) -> list[tuple[int, str]]:
    found: list[Any] = []
    failed: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    # getaddrinfo knows no time limit: it is left behind when the deadline comes first.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(max(ends - time.monotonic(), 0))
    if failed:
        raise FetchError(f"The name {host} could not be resolved: {failed[0]}.", "dns")
    if not found:
        raise FetchError(f"The name {host} was not resolved in time.", "timeout")
    return [(family, sockaddr[0]) for family, _, _, _, sockaddr in found]


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, with every read and write bound by one deadline."""

    def __init__(self, parts: SplitResult, family: int, address: str, ends: float) -> None:
        self._secure = parts.scheme == "https"
        super().__init__(str(parts.hostname), parts.port or (443 if self._secure else 80))
        self._address, self._ends = address, ends
        self._plain = socket.socket(family, socket.SOCK_STREAM)

    def connect(self) -> None:
        self._plain.settimeout(_remaining(self._ends))
        self._plain.connect((self._address, self.port))
        self._plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure:
            self._plain.settimeout(_remaining(self._ends))
            self._plain = ssl.create_default_context().wrap_socket(self._plain, server_hostname=self.host)
        self.sock = _BoundSocket(self._plain, self._ends)

    def hang_up(self) -> None:
        self._plain.close()


class _BoundSocket(io.RawIOBase):
    """A socket as http.client uses one; a slow trickle of bytes cannot outlast the deadline."""

    def __init__(self, plain: socket.socket, ends: float) -> None:
        self._plain, self._ends = plain, ends

    def sendall(self, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            self._plain.settimeout(_remaining(self._ends))
            view = view[self._plain.send(view[:65536]) :]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._plain.settimeout(_remaining(self._ends))
        return self._plain.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Do nothing: http.client closes its socket before the body is read; `hang_up` ends it."""


def _exchange(
    connection: _Connection, method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes | None
) -> http.client.HTTPResponse:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.connect()
    connection.putrequest(method, target, skip_accept_encoding=True)
    connection.putheader("Connection", "close")
    connection.putheader("Accept-Encoding", "identity")
    for name, value in headers.items():
        if name.lower() in _OURS:
            raise FetchError(f"The header {name} is written by Aureus itself: leave it out.", "request")
        connection.putheader(name, value)
    if body is not None or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    return connection.getresponse()


def _read(answer: http.client.HTTPResponse, max_bytes: int) -> bytes:
    octets = answer.read(max_bytes + 1)
    if len(octets) > max_bytes:
        raise FetchError(f"The answer is longer than {max_bytes} bytes.", "too_large")
    if answer.length:
        raise FetchError("The answer ended before its announced length.", "protocol")
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    return octets if encoding == "identity" or not octets else _unpacked(octets, encoding, max_bytes)


def _unpacked(octets: bytes, encoding: str, max_bytes: int) -> bytes:
    """Unpack an answer that was packed though we asked for a plain one; never beyond the limit."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchError(f"The answer is encoded as {encoding[:20]!r}, which was not asked for.", "protocol")
    reader = zlib.decompressobj(wbits=47)
    try:
        plain = reader.decompress(octets, max_bytes + 1)
    except zlib.error as error:
        raise FetchError(f"The answer's {encoding} encoding is broken: {error}.", "protocol") from None
    if len(plain) > max_bytes:
        raise FetchError(f"The unpacked answer is longer than {max_bytes} bytes.", "too_large")
    if not reader.eof:
        raise FetchError(f"The answer's {encoding} encoding ends too early.", "protocol")
    return plain


def _remaining(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@contextmanager
def _spoken(where: str) -> Iterator[None]:
    """Say every way in which a request can go wrong as one FetchError."""
    try:
        yield
    except TimeoutError:
        raise FetchError(f"{where} did not answer in full in time.", "timeout") from None
    except ssl.SSLError as error:
        raise FetchError(f"{where} has no valid TLS: {error.reason or error}.", "tls") from None
    except ConnectionRefusedError:
        raise FetchError(f"{where} refused the connection: nothing listens there.", "connect") from None
    except (http.client.HTTPException, ConnectionError) as error:
        told = (str(error) or type(error).__name__)[:200]
        raise FetchError(f"{where} broke off or did not speak HTTP: {told}.", "protocol") from None
    except OSError as error:
        raise FetchError(f"{where} could not be reached: {error.strerror or error}.", "connect") from None
    except ValueError as error:
        raise FetchError(f"The request cannot be sent: {str(error)[:200]}.", "request") from None
