"""Commands that an administrator declared for a balancer's machine, such as a reload through sudo."""

from __future__ import annotations

import shlex

from deployments.drivers import sudoers
from deployments.drivers.traffic import BalancerShell, Shortcoming, TrafficError

TIMEOUT = 30


def run_declared(shell: BalancerShell, command: str, fence: int) -> str:
    """Run a declared command under the fence and answer what it said. Raises TrafficError."""
    status, out, err = shell.run_fenced(shlex.split(command), b"", TIMEOUT, fence=fence)
    told = (out + err).decode("utf-8", "replace").strip()
    if status == 0:
        return told
    if "a password is required" in told or "not allowed" in told:
        raise TrafficError(": ".join(sudo_rule(command)), code="sudo")
    raise TrafficError(f"`{command}` failed on the balancer's host: {told[-400:]}", code="declared_failed", retry=True)


def missing(shell: BalancerShell, command: str, folder: str = "") -> list[Shortcoming]:
    """What keeps our user from a command through sudo, or from the folder, and what to do about it."""
    found = []
    if folder and shell.run(["test", "-w", folder], b"", TIMEOUT)[0] != 0:
        found.append(Shortcoming(f"our user cannot write {folder}", "make it, and give it to our user"))
    words = shlex.split(command)
    if words[:2] == ["sudo", "-n"]:
        status, out, _ = shell.run(sudoers.question(words[2:]), b"", TIMEOUT)
        match sudoers.judge(words[2:], status, out.decode("utf-8", "replace")):
            case sudoers.Allowed.NO:
                found.append(Shortcoming(*sudo_rule(command)))
            case sudoers.Allowed.UNSURE:
                sentence = f"whether sudo asks our user for a password before `{shlex.join(words[2:])}` cannot be told"
                found.append(Shortcoming(sentence, f"{sudoers.TRY_IT}; or {sudo_rule(command)[1]}", sure=False))
    return found


def sudo_rule(command: str) -> tuple[str, str]:
    """That a command is not allowed, and what to write into sudoers."""
    bare = " ".join(word for word in shlex.split(command) if word not in ("sudo", "-n"))
    rule = f"write `USER ALL=(root) NOPASSWD: /path/to/{bare}` into /etc/sudoers.d/aureus; {sudoers.LAST_COUNTS}"
    return f"sudo does not let our user run `{bare}` without a password", rule
