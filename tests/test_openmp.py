"""PyTorch's threads do not keep the cores from each other where other work is going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libgomp is Linux's")

CLEAN = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}


def _said(code: str, **env: str) -> list[object]:
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**CLEAN, **env}, timeout=120,
    )  # fmt: skip
    return list(json.loads(out.stdout.splitlines()[-1]))


SAY = (
    "import json, os\n"
    "from tellapart.openmp import wait_briefly\n"
    "print(json.dumps([wait_briefly(), os.environ.get('GOMP_SPINCOUNT')]))\n"
)


def test_what_the_user_says_of_waiting_stays() -> None:
    assert _said(SAY, OMP_WAIT_POLICY="active") == [False, None]
    assert _said(SAY, GOMP_SPINCOUNT="7") == [False, "7"]


def test_what_would_come_too_late_is_not_done() -> None:
    assert _said("import torch\n" + SAY) == [False, None]


@pytest.mark.parametrize(
    "start",
    [
        "import sys; sys.argv = ['tellapart', '--version']\n"
        "from tellapart.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n",
        "import tellapart\n"
        "try: tellapart.train('no such folder')\nexcept tellapart.TellapartError: pass\n",
    ],
    ids=["command line", "train in Python"],
)
def test_it_is_said_before_pytorch_is_imported(start: str) -> None:
    code = (
        "import json, os, sys\n" + start
        + "print(json.dumps([int(os.environ['GOMP_SPINCOUNT']), 'torch' in sys.modules]))"
    )  # fmt: skip
    turns, has_torch = _said(code)
    assert isinstance(turns, int) and 1_000 <= turns <= 30_000
    assert not has_torch
