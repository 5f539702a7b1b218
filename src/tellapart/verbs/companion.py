"""A process beside the main one of ``tellapart train --devices N``: it takes its share."""

from __future__ import annotations

import json
import signal
import sys

from tellapart.errors import TellapartError
from tellapart.verbs.train import resume, train


def main() -> None:
    """Read the arguments of ``train`` or ``resume`` from standard input and do the same."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends us
    arguments = json.load(sys.stdin)
    try:
        if "folder" in arguments:
            train(arguments.pop("folder"), **arguments)
        else:
            resume(arguments.pop("run"), **arguments)
    except TellapartError:
        sys.exit(2)  # the main process says it


if __name__ == "__main__":
    main()
