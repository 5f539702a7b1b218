"""Several processes compute what one computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
import torch
sys.path.insert(0, {folder!r})
from tiny import tiny_arrays, tiny_network
from tellapart.recipe import EarlyStopping, TrainingStage
from tellapart.training.fit import fit

torch.set_num_threads(1)
network = tiny_network(l2={l2})
if not {norm}:
    network.body[1] = torch.nn.Identity()  # BatchNorm would see each process's images alone
if {unfreezing}:  # first the head, then the convolution
    network.backbone = network.body
stage = TrainingStage(epochs=3, batch_size=16, optimizer="sgd", momentum=0.9, learning_rate=0.05,
              precision="float32", gradual_unfreezing={unfreezing},
              early_stopping=EarlyStopping(patience=50))
# 65 images: the last batch of one joins the batch before, and parts are not equal.
result = fit(network, tiny_arrays(65, 1), tiny_arrays(40, 2), stage, num_classes=3, device="cpu")
rows = [{{k: v for k, v in row.items() if k != "seconds"}} for row in result.history]
with open({output!r} + str(torch.distributed.is_initialized() and torch.distributed.get_rank()),
          "w") as file:
    json.dump([rows, result.facts["processes"]], file)
"""


def run(tmp_path: Path, name: str, launcher: list[str], **options: float) -> None:
    script = tmp_path / f"{name}.py"
    text = SCRIPT.format(folder=str(Path(__file__).parent), output=str(tmp_path / name), **options)
    script.write_text(text, encoding="utf-8")
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.mark.slow
def test_two_processes_decide_alike_where_batch_norm_sees_their_own_images(tmp_path: Path) -> None:
    run(tmp_path, "two", TWO, l2=0.0, unfreezing=0, norm=True)
    first, second = (json.loads((tmp_path / f"two{rank}").read_text()) for rank in "01")
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(("l2", "unfreezing"), [(0.0, 0), (0.01, 0), (0.0, 1)])
def test_two_processes_take_the_steps_that_one_takes(
    tmp_path: Path, l2: float, unfreezing: int
) -> None:
    run(tmp_path, "one", [], l2=l2, unfreezing=unfreezing, norm=False)
    run(tmp_path, "two", TWO, l2=l2, unfreezing=unfreezing, norm=False)
    alone, processes = json.loads((tmp_path / "oneFalse").read_text())
    assert processes == 1
    for rank in "01":
        rows, processes = json.loads((tmp_path / f"two{rank}").read_text())
        assert processes == 2
        for row, expected in zip(rows, alone, strict=True):
            assert row == pytest.approx(expected, rel=1e-5)
