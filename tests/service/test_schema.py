"""A stranger who knows nothing but the schema finds no fault in the service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reliability"))

import service as attacks
from tellapart.run import Run

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef"


@pytest.mark.slow
def test_schemathesis_finds_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    options = ["--token-file", str(tmp_path / "token"), "--feedback", str(tmp_path / "inbox")]
    served = attacks.serve([run.path], *options)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run",
        f"http://127.0.0.1:{served.port}/openapi.json",
        "--header", f"Authorization: Bearer {TOKEN}",
        "--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color",
        "--request-timeout", "120", "--max-response-time", "120", "--generation-database", "none",
        "--suppress-health-check", "all",
    ]  # fmt: skip
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "picture_strategies", "PYTHONPATH": str(HERE)}
    try:
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    finally:
        served.stop()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
