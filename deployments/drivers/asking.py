"""Asking a web address on the balancer's own machine, with what is installed there: curl, else python3."""

from __future__ import annotations

from deployments.drivers.traffic import BalancerShell, TrafficError

TIMEOUT = 10
# The same as curl below, for a machine that has none.
_PYTHON = """
import http.client, socket, sys
method, unix, address, path = sys.argv[1:]
c = http.client.HTTPConnection(address, timeout=10)
if unix:
    c.sock = socket.socket(socket.AF_UNIX); c.sock.settimeout(10); c.sock.connect(unix)
body = sys.stdin.buffer.read()
c.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
r = c.getresponse()
sys.stdout.buffer.write(r.read() + b"\\n%d" % r.status)
"""


def ask(
    shell: BalancerShell, method: str, address: str, path: str, *, where: str, unix: str = "", body: bytes = b""
) -> tuple[int, bytes]:
    """Answer status and body. `where` is what an error calls the one that is asked. Raises TrafficError."""
    words = ["curl", "-sS", "--noproxy", "*", "--max-time", str(TIMEOUT), "-X", method, "-w", "\n%{http_code}"]
    words += ["--unix-socket", unix] if unix else []
    words += ["-H", "Content-Type: application/json", "--data-binary", "@-"] if body else []
    status, out, err = shell.run([*words, f"http://{address}{path}"], body, TIMEOUT + 5)
    if status == 127:
        status, out, err = shell.run(["python3", "-c", _PYTHON, method, unix, address, path], body, TIMEOUT + 5)
    if status == 127:
        raise TrafficError("The balancer's host has neither curl nor python3: install curl.", code="missing_tool")
    # The last line of what either says is the status.
    said, _, code = out.rpartition(b"\n")
    if status != 0 or not code.isdigit():
        told = (err.decode("utf-8", "replace").strip().splitlines() or ["no answer"])[-1][:200]
        raise TrafficError(f"{where} does not answer: {told}", code="unreachable", retry=True)
    return int(code), said
