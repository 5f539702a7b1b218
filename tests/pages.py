"""Pages of docs/ whose commands are run by a test."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from tellapart import cli
from tellapart.errors import TellapartError


@dataclass(frozen=True)
class Command:
    """A line of a page's bash blocks."""

    #: Without what is said beside it.
    text: str
    #: The exit code that the page names; 0 where it names none.
    code: int

    @property
    def words(self) -> list[str]:
        """The words after ``tellapart``."""
        command, *words = shlex.split(self.text)
        assert command == "tellapart", self.text
        return words


def commands_of(page: str) -> list[Command]:
    """The commands of a page, in their order."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL):
        for line in block.splitlines():
            text, _, comment = line.partition("#")
            code = re.search(r"exit code (\d+)", comment)
            found.append(Command(text, int(code[1]) if code else 0))
    return found


def exit_code(words: list[str]) -> int:
    """What a command ends with, run in this process."""
    try:
        return cli.app(words, standalone_mode=False) or 0
    except TellapartError:
        return 2
