"""The only way out by HTTP, against servers that behave badly."""

import gzip
import socket
import threading

import pytest

from aureus.fetch import FetchError, fetch
from tests.health.web import raw, site


def refusal(method: str = "GET", url: str = "", **options) -> FetchError:
    with pytest.raises(FetchError) as error:
        fetch(method, url, **{"allow_private": True, "timeout": 5, **options})
    return error.value


def test_an_answer_comes_back_whole():
    with site({"/a?b=1": lambda asked: (201, f"{asked.method} {asked.body.decode()}")}) as web:
        answer = fetch("POST", web.url + "/a?b=1", body=b"hello", headers={"X-One": "1"}, allow_private=True)
    assert (answer.status, answer.text(), answer.headers["content-length"], answer.ok) == (
        201,
        "POST hello",
        "10",
        True,
    )
    assert web.asked[0].headers["x-one"] == "1"
    assert web.asked[0].headers["accept-encoding"] == "identity"


def test_each_request_has_its_own_connection():
    ports = []

    def speak(peer):
        ports.append(peer.getpeername()[1])
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")
        peer.recv(1)

    with raw(speak) as url:
        fetch("GET", url, allow_private=True)
        fetch("GET", url, allow_private=True)
    assert len(set(ports)) == 2


def test_a_redirect_is_answered_and_not_followed():
    with raw(lambda peer: peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")) as url:
        answer = fetch("GET", url, allow_private=True)
    assert (answer.status, answer.headers["location"]) == (302, "/x")


def test_a_proxy_named_by_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with site({"/": lambda _: (200, "direct")}) as web:
        assert fetch("GET", web.url, allow_private=True).text() == "direct"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_slow_trickle_of_bytes_ends_at_the_deadline(said):
    over = threading.Event()

    def trickle(peer):
        peer.sendall(said)
        while not over.wait(0.02):
            peer.sendall(b"1")

    with raw(trickle) as url:
        assert refusal(url=url, timeout=0.3).kind == "timeout"
        over.set()


def test_a_server_that_never_answers_or_never_reads_ends_at_the_deadline():
    over = threading.Event()
    with raw(lambda peer: over.wait(30)) as url:
        assert refusal(url=url, timeout=0.2).kind == "timeout"
        assert refusal("POST", url, body=b"x" * 50_000_000, timeout=0.2).kind == "timeout"
        over.set()


def test_an_endless_body_is_cut_at_its_limit():
    def pour(peer):
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    with raw(pour) as url:
        assert refusal(url=url, max_bytes=100_000).kind == "too_large"


def test_a_packed_answer_is_unpacked_but_a_bomb_is_not():
    def packed(plain):
        octets = gzip.compress(plain)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(octets)}\r\n\r\n"
        return lambda peer: peer.sendall(head.encode() + octets)

    with raw(packed(b"plain")) as url:
        assert fetch("GET", url, allow_private=True).body == b"plain"
    with raw(packed(b"0" * 50_000_000)) as url:
        assert refusal(url=url, max_bytes=1_000_000).kind == "too_large"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_no_whole_http_answer_is_an_error_and_never_an_answer(said):
    with raw(lambda peer: peer.sendall(said)) as url:
        assert refusal(url=url).kind == "protocol"


def test_nobody_listening_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = refusal(url=f"http://127.0.0.1:{port}/")
    assert (error.kind, "nothing listens" in error.sentence) == ("connect", True)


def test_a_plain_server_asked_for_tls_is_said_so():
    with site({}) as web:
        assert refusal(url=web.url.replace("http:", "https:")).kind == "tls"


@pytest.mark.parametrize(
    "url",
    ["", "/health", "ftp://h/", "file:///etc/passwd", "http://", "http://h:0/", "http://h:99999/", "http://u:p@h/",
     "http://h/a b", "http://h/\r\nX: 1", "http://h\\@e/", "http://h/é", "http://[::1"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(url):
    assert refusal(url=url).kind == "url"


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::]", "[fe80::1]", "224.0.0.1", "255.255.255.255", "240.0.0.1",
     "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "100.100.100.200", "168.63.129.16",
     "2852039166", "0xa9fea9fe", "0"],
)  # fmt: skip
def test_metadata_and_link_local_addresses_are_refused_even_for_declared_hosts(host):
    assert refusal(url=f"http://{host}/latest/meta-data", timeout=2).kind == "address"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.1.2.3", "192.168.1.1", "[::1]", "[::ffff:10.0.0.1]", "[fd12::1]"]
)
def test_private_addresses_are_refused_unless_declared(host):
    assert refusal(url=f"http://{host}/", allow_private=False).kind == "address"


def test_a_header_that_would_split_the_request_is_refused():
    with site({}) as web:
        assert refusal(url=web.url, headers={"X": "a\r\nHost: evil"}).kind == "request"
        assert refusal(url=web.url, headers={"Content-Length": "5"}).kind == "request"
    assert web.asked == []
