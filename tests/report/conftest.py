"""Tests are imported by path (import-mode importlib), so helpers need their folder here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
