"""Whether sudo runs a command without a password, told from what sudo lists. Pure; the look itself changes nothing.

`sudo -n -l COMMAND` alone does not tell: it succeeds for whatever is permitted, with a password too, as soon as any
rule of our user has NOPASSWD (sudoers(5), listpw). So the rules themselves are read, as `sudo -ll` writes them: an
entry for each set of options, a command on each line, nothing wrapped. Of the rules that fit the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase
from posixpath import basename

ASK = """
[ "$(id -u)" != 0 ] || { echo root; exit 0; }
LC_ALL=C
export LC_ALL
sudo -n -l "$@" || exit 1
sudo -n -ll | cat
"""
"""`| cat`: only into a pipe does sudo write lines of any length."""
TRY_IT = "say it once as our user at a quiet time, with sudo -n"
LAST_COUNTS = "of the rules that fit, sudo takes the last one"
PLAIN = frozenset({"RunAsUsers", "RunAsGroups", "Options", "Commands", "Cwd", "Chroot", "Timeout"})
"""Lines of an entry that do not narrow when it holds; dates do."""

UNFOLLOWED = ("runas_default", "exempt_group")
"""Defaults that say beside the rules as whom a command runs, and who is never asked."""


class Allowed(StrEnum):
    """NO: it is not permitted, or a password is asked for. UNSURE: the rules can be read both ways."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


class Fits(IntEnum):
    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(slots=True)
class Entry:
    """Commands under the same options. ordered: it stands in a file, where a later rule wins, not in a directory."""

    ordered: bool
    lines: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)


def question(command: Sequence[str]) -> list[str]:
    """The words to run as our user; `command` is without `sudo -n`. `judge` reads the answer."""
    return ["sh", "-c", ASK, "sudo", *command]


def judge(command: Sequence[str], status: int, said: str) -> Allowed:
    """What the answer to `question` means.

    A list that is refused without a password is a NO: by default sudo refuses it only where no rule has NOPASSWD.
    """
    if status != 0:
        return Allowed.NO
    permitted, _, listed = said.partition("\n")
    if permitted == "root":
        return Allowed.YES
    defaults, special, entries = _read(listed)
    if any(word in f"{defaults} {special}" for word in UNFOLLOWED) or "authenticate" in special:
        return Allowed.UNSURE
    asked = _asks(_words(defaults), True)
    match _left(entries, permitted.split(" ", 1)[0], " ".join(command[1:]), asked):
        case [False]:
            return Allowed.YES
        case [True]:
            return Allowed.NO
    return Allowed.UNSURE


def _read(listed: str) -> tuple[str, str, list[Entry]]:
    """The defaults of our user, those of single commands, and the rules."""
    parts: dict[str, list[str]] = {"Matching": [], "Runas": []}
    entries: list[Entry] = []
    here: list[str] = []
    for line in filter(None, listed.splitlines()):
        name, colon, value = line.strip().partition(":")
        if not line[0].isspace() and (name == "Sudoers entry" or name.endswith(" Role")):
            entries.append(Entry(ordered=name == "Sudoers entry"))
        elif not line[0].isspace():
            here = parts.setdefault(line.split(" ", 1)[0], [])
        elif not entries:
            here.append(line)
        elif line.startswith("\t"):
            entries[-1].commands.append(line.strip())
        elif colon:
            entries[-1].lines[name] = value.strip()
    return " ".join(parts["Matching"]), " ".join(parts["Runas"]), entries


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _asks(words: Iterable[str], before: bool) -> bool:
    """Whether a password is asked for where these options hold; the last word counts."""
    for word in words:
        before = {"authenticate": True, "!authenticate": False}.get(word, before)
    return before


def _left(entries: Sequence[Entry], program: str, arguments: str, asked: bool) -> list[bool]:
    """Whether a password is asked for, by each rule that may be the one that counts.

    sudo has said that the command is permitted: rules that forbid it do not count.
    """
    ordered, left = all(entry.ordered for entry in entries), set[bool]()
    for entry, rule in _rules(entries):
        fits = min(_holds(entry), _is_of(rule, program, arguments))
        if fits is Fits.YES and ordered:
            left.clear()
        if fits is not Fits.NO:
            left.add(_asks(_words(entry.lines.get("Options", "")), asked))
    return list(left)


def _rules(entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
    for entry in entries:
        for rule in entry.commands:
            if not rule.startswith("!"):
                yield entry, rule


def _holds(entry: Entry) -> Fits:
    """Whether the entry is about commands as root, and at any time."""
    fits = Fits.NO
    for user in _words(entry.lines.get("RunAsUsers", "")):
        if user.lstrip("!") in ("ALL", "root", "#0"):
            fits = Fits.NO if user.startswith("!") else Fits.YES
        elif user.lstrip("!").startswith(("%", "+")):
            fits = Fits.MAYBE
    return fits if entry.lines.keys() <= PLAIN else min(fits, Fits.MAYBE)


def _is_of(rule: str, program: str, arguments: str) -> Fits:
    """Whether a rule is about this command. Digests and patterns beyond `*` and `?` may be."""
    if rule == "ALL":
        return Fits.YES
    name, _, wanted = rule.partition(" ")
    if not name.startswith("/"):
        return Fits.NO if name == "sudoedit" else Fits.MAYBE
    return min(_is_program(_bare(name), program), _are_arguments(wanted, arguments))


def _is_program(name: str, program: str) -> Fits:
    if name.endswith("/") or set("*?[") & set(name):
        return Fits.MAYBE
    if name == program:
        return Fits.YES
    # /bin and /usr/bin are one folder on many machines: sudo compares the files, and we do not see them.
    return Fits.MAYBE if basename(name) == basename(program) else Fits.NO


def _are_arguments(wanted: str, arguments: str) -> Fits:
    patterned = set("*?[") & set(wanted)
    if wanted.startswith("^") or "[" in patterned or (patterned and "\\" in wanted):
        return Fits.MAYBE
    if patterned:
        return Fits.YES if fnmatchcase(arguments, wanted) else Fits.NO
    return Fits.YES if wanted == "" or _bare(wanted) == (arguments or '""') else Fits.NO


def _bare(text: str) -> str:
    """Without the strokes that sudoers(5) demands before `:`, `,`, `=` and the like."""
    return re.sub(r"\\(.)", r"\1", text)
