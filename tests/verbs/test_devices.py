"""``train --devices 2``: two processes come to what one comes to, and one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart.errors import RecipeError
from tellapart.verbs.train import resume, train

#: No BatchNorm and no dropout, so that the processes take the very steps of one.
OPTIONS = {
    "recipe": "cifar-baseline-sgd",
    "settings": [
        "training.epochs=2", "data.train_folders=[]", "data.validation_folders=[]",
        "data.test_folders=[]", "training.precision=float32",
    ],
    "device": "cpu",
}  # fmt: skip
COMMAND = "import sys; from tellapart.cli import main; sys.argv[0] = 'tellapart'; main()"


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(per_class=25)


def numbers(run) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history()]


def assert_alike(run, alone) -> None:
    """Within 1e-4 of each other: float32 sums in another order."""
    assert run.status == "complete"
    for row, expected in zip(numbers(run), numbers(alone), strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    for part in ("validation", "test"):
        assert run.metrics[part]["images"] == alone.metrics[part]["images"]


@pytest.mark.slow
def test_two_processes_make_the_run_that_one_makes(photos: Path, tmp_path: Path) -> None:
    alone = train(photos, runs=tmp_path / "one", **OPTIONS)
    both = train(photos, runs=tmp_path / "two", devices=2, **OPTIONS)
    assert len(list((tmp_path / "two").iterdir())) == 1
    assert_alike(both, alone)
    assert both.info.facts["stages"][0]["processes"] == 2
    # The next training in this process is one process's again, and an extension may be two's.
    assert "RANK" not in os.environ
    longer, other = resume(both.path, extend=1, devices=2), resume(alone.path, extend=1)
    assert len(numbers(longer)) == 3 and other.info.facts["stages"][0]["processes"] == 1
    assert_alike(longer, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
        ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
         "--mixed_precision", "no", "--dynamo_backend", "no"],
    ],
)  # fmt: skip
def test_a_launcher_starts_the_command_as_it_is(
    photos: Path, tmp_path: Path, launcher: list[str]
) -> None:
    script = tmp_path / "command.py"
    script.write_text(COMMAND, "utf-8")
    settings = [part for text in OPTIONS["settings"] for part in ("--set", text)]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(script), "train", str(photos), "--recipe",
         OPTIONS["recipe"], *settings, "--device", "cpu", "--runs", str(tmp_path / "runs"),
         "--json"],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # one of the two has printed
    (run,) = (tmp_path / "runs").iterdir()
    assert result["run"] == str(run)
    assert json.loads((run / "run.json").read_text())["facts"]["stages"][0]["processes"] == 2


@pytest.mark.slow
def test_a_probe_is_trained_in_one_process(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Several processes divide an epoch's work"):
        train(photos, runs=tmp_path, recipe="probe", devices=2, device="cpu")
    assert not list(tmp_path.iterdir())
