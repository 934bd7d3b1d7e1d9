"""One `aureus up` of the demo, as a person would start it, on free ports and with a folder of its own."""

import contextlib
import os
import re
import subprocess
from pathlib import Path

from aureus.demo import children
from aureus.embedded import kept


class Instance:
    """Started and ended as a process; what it prints is kept beside its folder."""

    def __init__(self, home: Path, **given: str) -> None:
        self.home = home
        self.port, self.flower_port = kept.free_ports(2)
        self.given = given | {"AUREUS_HOME": str(home), "PORT": str(self.port), "FLOWER_PORT": str(self.flower_port)}
        self.printed = home.with_name(f"{home.name}.out")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def text(self) -> str:
        return self.printed.read_text(errors="replace")

    @property
    def password(self) -> str:
        """The password of the user `admin`, as the first start printed it once."""
        found = re.search(r"password (\S+) \(shown this once", self.text)
        if found is None:
            raise children.NotReady(f"`aureus up` printed no password: {self.printed}")
        return found[1]

    def start(self) -> None:
        """Begin; `wait` says when it is ready."""
        self.home.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        self.process = children.start(children.python("aureus.up"), self.printed, **self.given)

    def wait(self, seconds: float = 90) -> None:
        """Until the console answers. Raises NotReady."""
        process = self.process
        assert process is not None
        children.wait_until(
            lambda: "data and logs" in self.text or process.poll() is not None, "`aureus up`", seconds
        )  # fmt: skip
        if process.poll() is not None:
            raise children.NotReady(f"`aureus up` ended: {self.text[-1500:]}")

    def stop(self, *, hurry: bool = False) -> int | None:
        """End it in order; its exit code. Asked a second time it does not wait for what its workers still do."""
        process = self.process
        if hurry and process is not None and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
        return children.end(process, 90)
