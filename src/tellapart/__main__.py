"""``python -m tellapart``: the command line."""

from __future__ import annotations

from tellapart.cli import main

if __name__ == "__main__":
    main()
