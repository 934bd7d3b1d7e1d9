"""Access logs: what each format's lines say, and reading only what is new through everything that happens to a file."""

import math
import os

import pytest

from health.sources.access_log import read_log
from health.sources.log_lines import BOUNDS, FORMATS, UPSTREAMS, Answered, answers_in, tally
from tests.health.shell import local, saying, unreachable

HAPROXY = b"<134>Nov 24 01:02:03 lb haproxy[99]: 10.0.1.2:33317 [24/Nov/2026:01:02:03.655] web shop/p1 10/0/30/69/109 "
COMBINED = b'10.0.0.9 - - [24/Nov/2026:01:02:03 +0000] "GET / HTTP/1.1" 200 12 "-" "curl/8 (x \\x22 y)" 0.042\n'


def nginx(upstream: str, status: str, seconds: str, answered: int = 200) -> bytes:
    head = f'10.0.0.9 [2026-11-24T01:02:03+00:00] "GET /a?b=\\x22 500 1 HTTP/1.1" {answered} 12 0.044'
    return f'{head} "{upstream}" "{status}" "{seconds}"\n'.encode()


def line(status: int = 200, seconds: float = 0.042) -> bytes:
    return nginx("10.0.0.11:8080", str(status), str(seconds), status)


@pytest.mark.parametrize(
    ("kind", "said", "answers"),
    [
        ("nginx-combined", COMBINED, [Answered((), 200, 0.042)]),
        ("nginx-combined", COMBINED.replace(b"0.042", b"-"), None),
        ("nginx-combined", COMBINED.replace(b" 0.042", b""), None),
        ("nginx", line(503, 1.5), [Answered(("10.0.0.11:8080",), 503, 1.5)]),
        ("nginx", nginx("-", "-", "-", 404), [Answered((), 404, 0.044)]),
        ("nginx", nginx("a:1", "-", "0.2", 499), []),
        ("nginx", nginx("a:1, b:2", "502, 200", "0.001, 0.030"),
         [Answered(("a:1",), 502, 0.001), Answered(("b:2",), 200, 0.03)]),
        ("nginx", nginx("a:1 : b:2", "404 : 200", "- : 0.030"),
         [Answered(("a:1",), 404, None), Answered(("b:2",), 200, 0.03)]),
        ("nginx", COMBINED, None),
        ("haproxy", HAPROXY + b'200 2750 - - ---- 1/1/1/1/0 0/0 {a} {} "GET /i HTTP/1.1"\n',
         [Answered(("p1", "shop/p1"), 200, 0.069)]),
        ("haproxy", HAPROXY.replace(b"/69/109", b"/-1/3009") + b'504 0 - - sH-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"\n',
         [Answered(("p1", "shop/p1"), 504, 3.009)]),
        ("haproxy", HAPROXY + b'-1 0 - - CH-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"\n', []),
        ("haproxy", HAPROXY.replace(b"shop/p1", b"shop/<NOSRV>") + b'503 0 - - SC-- 1/1/1/1/0 0/0 "GET / H"\n', []),
        ("haproxy", b"10.0.1.2:33317 [24/Nov/2026:01:02:03.655] web shop/p1 0/0/5007 212 -- 0/0/0/0/3 0/0\n", None),
        ("caddy", b'{"logger":"http.log.access","status":502,"duration":0.25,"upstream":"10.0.0.11:8080"}\n',
         [Answered(("10.0.0.11:8080",), 502, 0.25)]),
        ("caddy", b'{"status":0,"duration":0.25}\n', []),
        ("caddy", b'{"status":200,"duration":"250ms"}\n', None),
        ("caddy", b'{"status":"200","duration":1}\n', None),
        ("caddy", b"[" * 10_000, None),
    ],
)  # fmt: skip
def test_each_format_tells_who_answered_how_and_how_fast(kind, said, answers):
    assert answers_in(kind, said) == answers


@pytest.mark.parametrize("kind", sorted(FORMATS))
@pytest.mark.parametrize("said", [b"", b"\x00\xff" * 500, b'"' * 16_000, b"x" * 20_000, b"{" * 16_000, b"1 " * 8_000])
def test_no_line_can_do_harm(kind, said):
    assert answers_in(kind, said) is None


def test_a_request_cannot_write_an_answer_of_its_own():
    forged = b'GET /" 500 1 9.0 "10.0.0.11:8080" "500" "9.0'.replace(b'"', b"\\x22")
    said = line().replace(b"GET /a?b=\\x22 500 1 HTTP/1.1", forged)
    assert answers_in("nginx", said) == [Answered(("10.0.0.11:8080",), 200, 0.042)]


def test_answers_are_counted_by_endpoint_and_others_for_nobody():
    lines = [nginx("a:1", "200", "0.010")] * 3 + [nginx("b:2", "500", "20.0", 500), nginx("z:9", "200", "0.01")]
    found = tally("nginx", [*lines, b"noise"], {"a:1": "h1", "b:2": "h2"})
    assert (found.read, found.unread) == (5, 1)
    assert {name: (one.requests, one.errors) for name, one in found.of.items()} == {"h1": (3, 0), "h2": (1, 1)}
    assert dict(found.of["h1"].buckets) == {bound: 3 if bound >= 0.01 else 0 for bound in BOUNDS}
    assert found.of["h2"].buckets[-2:] == ((10.0, 0), (math.inf, 1))


class Log:
    """A log on this machine, read again and again."""

    def __init__(self, folder):
        self.path, self.state = folder / "access.log", None

    def write(self, *lines: bytes, mode="ab") -> None:
        with open(self.path, mode) as stream:
            stream.write(b"".join(lines))

    def read(self, run=local, **options):
        found = read_log(run, str(self.path), "nginx", self.state, {"10.0.0.11:8080": "h1"}, **options)
        self.state = found.state or self.state
        counted = found.of.get("h1")
        return found.kind, (counted.requests, counted.errors) if counted else (0, 0), found.why


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path)
    log.write(line(), line(500))
    assert log.read()[0] == "first"
    return log


def test_only_new_lines_are_read_and_each_once(log):
    assert log.read() == ("counts", (0, 0), "")
    log.write(line(), line(503), line())
    assert log.read() == ("counts", (3, 1), "")
    assert log.read() == ("counts", (0, 0), "")


def test_a_line_that_is_not_finished_is_read_when_it_is(log):
    half = line(500)
    log.write(line(), half[:40])
    assert log.read()[1] == (1, 0)
    log.write(half[40:], line())
    assert log.read()[1] == (2, 1)


def test_the_line_that_was_half_written_at_the_first_look_is_left_out(tmp_path):
    log = Log(tmp_path)
    log.write(line(500)[:30])
    assert log.read()[0] == "first"
    assert log.read()[:2] == ("counts", (0, 0))
    log.write(line(500)[30:], line())
    assert log.read()[:2] == ("counts", (1, 0))


def test_an_empty_log_is_read_from_its_beginning(tmp_path):
    log = Log(tmp_path)
    log.write()
    assert log.read()[0] == "first"
    log.write(line(500))
    assert log.read()[:2] == ("counts", (1, 1))


@pytest.mark.parametrize("name", ["access.log.1", "access-20261124.log"])
def test_a_rotated_file_is_read_to_its_end_before_the_new_one(log, name):
    log.write(line(500))
    os.rename(log.path, log.path.with_name(name))
    log.write(line(), line())
    kind, counts, why = log.read()
    assert (kind, counts) == ("counts", (3, 1))
    assert "rotated" in why
    log.write(line())
    assert log.read() == ("counts", (1, 0), "")


def test_a_rotated_file_that_is_gone_is_a_hole_and_told_once(log):
    log.write(line(500))
    os.rename(log.path, log.path.with_name("access.log.1"))
    log.write(line())
    os.remove(log.path.with_name("access.log.1"))
    kind, counts, why = log.read()
    assert (kind, counts) == ("absent", (0, 0)) and "gone before it was read" in why
    assert log.read()[:2] == ("counts", (1, 0))


def test_a_file_that_was_cut_is_read_from_its_beginning(log):
    log.write(line(500), mode="wb")
    kind, counts, why = log.read()
    assert (kind, counts) == ("counts", (1, 1)) and "truncated" in why


def test_a_file_that_was_written_anew_is_no_measurement(log):
    log.write(b"x" * 5_000, mode="wb")
    kind, _, why = log.read()
    assert kind == "absent" and "another file" in why
    log.write(b"\n", line())
    assert log.read()[:2] == ("counts", (1, 0))


def test_more_than_can_be_read_at_once_is_not_read_at_all(log):
    log.write(*[line()] * 100)
    kind, _, why = log.read(most=2_000)
    assert kind == "absent" and "grew by more than 2000 bytes" in why
    log.write(line())
    assert log.read(most=2_000)[:2] == ("counts", (1, 0))


def test_lines_of_another_format_are_no_measurement_but_some_strange_ones_are_passed_over(log):
    log.write(*[b"something else\n"] * 3, line())
    assert log.read()[0] == "absent"
    log.write(b"\x00\xff\n", line(), line())
    assert log.read()[:2] == ("counts", (2, 0))


@pytest.mark.parametrize(
    ("run", "kind", "words"),
    [
        (unreachable, "down", "could not be reached"),
        (saying(b"unreadable\n"), "absent", "cannot be read by our user"),
        (saying(b"", b"sh: stat: not found\n", 127), "down", "stat: not found"),
        (saying(b"on 5 0 0 10\nnot packed"), "down", "did not answer as asked"),
        (saying(b"welcome to this host\n"), "down", "did not answer as asked"),
        (saying(b""), "down", "did not answer as asked"),
    ],
)
def test_a_host_that_does_not_answer_as_asked_is_down(log, run, kind, words):
    found, _, why = log.read(run)
    assert found == kind and words in why


def test_a_log_that_is_not_there_or_no_file_is_absent(tmp_path):
    for path, words in ((tmp_path / "none", "is not there"), (tmp_path, "cannot be read")):
        found = read_log(local, str(path), "nginx", None, {})
        assert found.kind == "absent" and words in found.why


def test_every_line_of_an_application_hosts_log_is_its_own(tmp_path):
    path = tmp_path / "a log"
    path.write_bytes(b"")
    first = read_log(local, str(path), "nginx-combined", None, {}, everything="h1")
    path.write_bytes(COMBINED * 4)
    found = read_log(local, str(path), "nginx-combined", first.state, {}, everything="h1")
    assert found.of["h1"].requests == 4


def test_a_balancers_format_tells_who_answered():
    assert FORMATS.keys() - UPSTREAMS == {"nginx-combined"}
