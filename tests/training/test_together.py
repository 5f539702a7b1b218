"""Several processes on one training, without training: numbers, children, what they agree on.

That two processes come to the run of one is in ``test_processes.py`` and
``tests/verbs/test_devices.py``.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tellapart.errors import TrainingError
from tellapart.training import processes, together

NAMES = (
    "WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "OMP_NUM_THREADS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_one_process_that_no_launcher_started_is_the_main_one_and_asks_nobody() -> None:
    assert together.num_processes() == 1
    assert together.is_main_process()
    assert together.main_first("cpu", lambda: "done") == "done"
    assert together.said_by_main("cpu", "runs/cats") == "runs/cats"


def test_a_launcher_s_numbers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert together.num_processes() == 4
    assert not together.is_main_process()
    with (
        pytest.raises(TrainingError, match=r"4 processes were started .* leave --devices out"),
        together.companions(2, {}, "no_such_module"),
    ):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    together.require_devices("cpu", 16)
    together.require_devices("cuda", 2)
    with pytest.raises(TrainingError, match="--devices 3: there are 2 GPUs here"):
        together.require_devices("cuda", 3)


def test_children_get_their_number_and_the_arguments_and_all_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child_of_a_test.py").write_text(
        "import os, sys\n"
        f"names = {NAMES}\n"
        f"with open(r'{tmp_path / 'told'}', 'w') as file:\n"
        "    print(*[os.environ.get(name) for name in names], sys.stdin.read(), file=file)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    before, threads = dict(os.environ), torch.get_num_threads()

    with together.companions(2, {"folder": "photos"}, "child_of_a_test"):
        assert (together.num_processes(), together.is_main_process()) == (2, True)
        port = os.environ["MASTER_PORT"]
        assert torch.get_num_threads() == max(1, threads // 2)

    told = (tmp_path / "told").read_text().split()
    each = str(max(1, threads // 2))
    assert told == ["2", "1", "1", "2", "127.0.0.1", port, each, '{"folder":', '"photos"}']
    assert dict(os.environ) == before
    assert torch.get_num_threads() == threads


def test_children_end_with_a_training_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sleeping_child.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    started: list[Any] = []
    popen = together.subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(together.subprocess, "Popen", noted)
    with pytest.raises(KeyError), together.companions(3, {}, "sleeping_child"):
        raise KeyError("a mistake in the training")

    assert [child.returncode is not None for child in started] == [True, True]
    assert together.num_processes() == 1


def test_what_processes_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process keeps what it has; several take the mean, or what the main one says."""
    alone: Any = SimpleNamespace(num_processes=1)
    assert processes.agreed_seconds(alone, 3.0) == 3.0
    assert processes.agreed_words(alone, "early") == "early"
    processes.share_buffers(alone, nn.BatchNorm2d(2))

    def reduce(own: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "mean"
        return (own + 5.0) / 2  # the other one took five seconds

    several: Any = SimpleNamespace(num_processes=2, device=torch.device("cpu"), reduce=reduce)
    assert processes.agreed_seconds(several, 3.0) == 4.0
    monkeypatch.setattr(processes, "broadcast_object_list", lambda words: ["of the main one"])
    assert processes.agreed_words(several, "own") == "of the main one"

    network = nn.BatchNorm2d(2)
    shared: list[int] = []

    def broadcast(buffer: torch.Tensor, src: int) -> None:
        assert src == 0
        shared.append(buffer.data_ptr())

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    processes.share_buffers(several, network)
    assert shared == [buffer.data_ptr() for buffer in network.buffers()]
    assert len(shared) == 3  # mean, variance and the number of batches
