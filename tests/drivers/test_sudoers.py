"""What sudo lists, as sudo 1.9.13 wrote it for the rules above each case, and what it did with `sudo -n` itself."""

import os
import shutil
import subprocess

import pytest

from deployments.drivers import privileges, sudoers
from deployments.drivers.sudoers import Allowed

COMMAND = ["systemctl", "restart", "app.service"]
PERMITTED = "/usr/bin/systemctl restart app.service\n"
SUDO = shutil.which("sudo")
DEFAULTS = r"""Matching Defaults entries for deploy on host:
    env_reset, mail_badpass, secure_path=/usr/local/sbin\:/usr/local/bin\:/usr/sbin\:/usr/bin\:/sbin\:/bin, use_pty"""
MAY = "\n\nUser deploy may run the following commands on host:\n"


def entry(*commands: str, users: str = "root", options: str = "", more: str = "", head: str = "Sudoers entry:") -> str:
    """One entry of `sudo -ll`."""
    told = f"    Options: {options}\n" if options else ""
    return f"\n{head}\n    RunAsUsers: {users}\n{more}{told}    Commands:\n" + "".join(f"\t{c}\n" for c in commands)


FREE = "!authenticate"
RESTART = "/usr/bin/systemctl restart app.service"
EVERYTHING = entry("ALL", users="ALL")
TRUE = entry("/usr/bin/true", options=FREE)
OURS = entry(RESTART, options=FREE)
CASES = {
    "ours alone": (OURS, Allowed.YES),
    "any other rule without a password, and this one with": (TRUE + EVERYTHING, Allowed.NO),
    "everything with a password, then ours": (EVERYTHING + OURS, Allowed.YES),
    "ours, then everything with a password": (OURS + EVERYTHING, Allowed.NO),
    "everything without a password": (entry("ALL", users="ALL", options=FREE), Allowed.YES),
    "a tag that ends before us": (entry("/usr/bin/true", options=FREE) + entry(RESTART, options="authenticate"),
                                  Allowed.NO),
    "options beside it": (entry(RESTART, options=f"setenv, noexec, {FREE}, log_output"), Allowed.YES),
    "as nobody but root": (entry("ALL", users="ALL, !root", options=FREE) + entry(RESTART), Allowed.NO),
    "as ourselves in another group": (entry("ALL", users="deploy", more="    RunAsGroups: adm\n", options=FREE)
                                      + entry(RESTART), Allowed.NO),
    "as root by number": (entry(RESTART, r"/usr/bin/systemctl stop app\:1.service", "!/usr/bin/systemctl poweroff",
                                users="root, #0", more="    RunAsGroups: ALL\n", options=FREE), Allowed.YES),
    "with any arguments": (EVERYTHING + entry("/usr/bin/systemctl", options=FREE), Allowed.YES),
    "with any unit": (EVERYTHING + entry("/usr/bin/systemctl restart *", options=FREE), Allowed.YES),
    "another unit": (EVERYTHING + entry("/usr/bin/systemctl restart other*", options=FREE), Allowed.NO),
    "no arguments": (EVERYTHING + entry('/usr/bin/systemctl ""', options=FREE), Allowed.NO),
    "a file to edit": (OURS + entry("sudoedit /etc/hosts", "/usr/bin/who"), Allowed.YES),
    "limits that change nothing": (entry(RESTART, options=FREE, more="    Cwd: /tmp\n    Timeout: 30\n"), Allowed.YES),
    "the same file by another name, alone": (entry("/bin/systemctl restart app.service", options=FREE), Allowed.YES),
    "perhaps the same file by another name": (EVERYTHING + entry("/bin/systemctl restart *", options=FREE),
                                              Allowed.UNSURE),
    "a pattern that we do not follow": (EVERYTHING + entry("/usr/bin/systemctl ^restart [a-z]+[.]service$",
                                                           options=FREE), Allowed.UNSURE),
    "a digest": (EVERYTHING + entry("sha256:aaaa /usr/bin/systemctl", options=FREE), Allowed.UNSURE),
    "a whole folder, with a password": (OURS + entry("/usr/bin/"), Allowed.UNSURE),
    "as a group that root may be in": (OURS + entry("/usr/bin/systemctl", users="%adm", options="authenticate"),
                                       Allowed.UNSURE),
    "until some day": (EVERYTHING + entry(RESTART, options=FREE, more="    NotAfter: 20300101000000Z\n"),
                       Allowed.UNSURE),
    "rules of a directory, in no order that we know": (entry(RESTART, head="LDAP Role: all")
                                                       + entry(RESTART, options=FREE, head="LDAP Role: app"),
                                                       Allowed.UNSURE),
    "a directory whose rules agree": (entry(RESTART, options=FREE, head="LDAP Role: app"), Allowed.YES),
    "a newer sudo names the file": (entry(RESTART, options=FREE, head="Sudoers entry: /etc/sudoers.d/deploy"),
                                    Allowed.YES),
    "nothing that we can read": ("", Allowed.UNSURE),
}  # fmt: skip
DECLARED = {
    "nobody is asked": (", !authenticate", "", EVERYTHING, Allowed.YES),
    "nobody is asked, but for this": (", !authenticate", "", entry(RESTART, options="authenticate"), Allowed.NO),
    "the list is for everybody": (", listpw=never", "", entry(RESTART), Allowed.NO),
    "a group is never asked": (", exempt_group=wheel", "", EVERYTHING, Allowed.UNSURE),
    "commands run as somebody else": (", runas_default=daemon", "", OURS, Allowed.UNSURE),
    "this command is never asked for": ("", "    Defaults!/usr/bin/systemctl !authenticate", EVERYTHING + TRUE,
                                        Allowed.UNSURE),
    "what Debian says of visudo": ("", '    Defaults!/usr/sbin/visudo env_keep+="EDITOR VISUAL"', EVERYTHING + OURS,
                                   Allowed.YES),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "allowed"), CASES.values(), ids=CASES)
def test_the_last_rule_that_fits_says_whether_a_password_is_asked_for(rules, allowed):
    assert sudoers.judge(COMMAND, 0, f"{PERMITTED}{DEFAULTS}{MAY}{rules}") is allowed


@pytest.mark.parametrize(("general", "special", "rules", "allowed"), DECLARED.values(), ids=DECLARED)
def test_defaults_count_where_we_can_follow_them(general, special, rules, allowed):
    section = f"\n\nRunas and Command-specific defaults for deploy:\n{special}" if special else ""
    said = f"{PERMITTED}{DEFAULTS}{general}{section}{MAY}{rules}"
    assert sudoers.judge(COMMAND, 0, said) is allowed


def test_what_is_not_permitted_or_not_even_listed_is_not_allowed():
    assert sudoers.judge(COMMAND, 1, "") is Allowed.NO


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is root")
def test_root_is_asked_for_nothing():
    done = subprocess.run(sudoers.question(COMMAND), capture_output=True, text=True, check=False)
    assert sudoers.judge(COMMAND, done.returncode, done.stdout) is Allowed.YES


@pytest.mark.skipif(os.geteuid() != 0 or not SUDO, reason="needs root, and sudo")
def test_a_real_sudo_has_no_rule_for_nobody():
    """As `nobody`, whom nobody gives rights."""
    done = subprocess.run(
        sudoers.question(COMMAND),
        user="nobody",
        group="nogroup",
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert sudoers.judge(COMMAND, done.returncode, done.stdout) is Allowed.NO


class Shell:
    """A balancer's machine on which sudo lists these rules; its user may write every folder."""

    def __init__(self, rules: str) -> None:
        self.rules = rules

    def run(self, words, stdin=b"", timeout=30.0):
        said = "" if words[0] == "test" else f"{PERMITTED}{DEFAULTS}{MAY}{self.rules}"
        return 0, said.encode(), b""


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (OURS, []),
        (TRUE + EVERYTHING,
         [("sudo does not let our user run `systemctl restart app.service` without a password", True)]),
        (OURS + entry("/usr/bin/"),
         [("whether sudo asks our user for a password before `systemctl restart app.service` cannot be told", False)]),
    ],
)  # fmt: skip
def test_a_balancers_reload_is_judged_by_the_same_rules(rules, said):
    found = privileges.missing(Shell(rules), "sudo -n systemctl restart app.service", "/etc/balancer")  # type: ignore[arg-type]
    assert [(one.sentence, one.sure) for one in found] == said
    assert all("NOPASSWD: /path/to/systemctl restart app.service" in one.remedy for one in found)
