"""Training in two stages: its history after every epoch, killed, stopped and extended."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny import tiny_arrays

from tellapart.data.pixels import PixelCache
from tellapart.data.table import ImageTable
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import Recipe, ScratchModel, TrainingStage
from tellapart.training.by_fit import is_unfinished, train_by_fit
from tellapart.training.callbacks import Callback
from tellapart.training.outcome import Task, Trained
from tellapart.training.position import Stopped

RECIPE = Recipe(
    name="two-stages", title="", teaches="", model=ScratchModel(network="small_cnn"),
    training=TrainingStage(epochs=4, batch_size=16),
    fine_tuning=TrainingStage(epochs=3, batch_size=16, learning_rate=1e-4),
)  # fmt: skip


class At(Callback):
    """Does something at the end of an epoch, counted over both stages."""

    def __init__(self, count: int, action) -> None:
        self.left, self._action = count, action

    def end_epoch(self, history) -> str | None:
        self.left -= 1
        return self._action() if self.left == 0 else None


def train(folder: Path, callback: Callback | None = None, **options: Any) -> Trained:
    arrays = tiny_arrays(60, 1, side=32)
    table = ImageTable(
        root=folder, paths=tuple(f"{i}.png" for i in range(60)), labels=arrays.labels,
        parts=np.array(["train"] * 60), classes=("a", "b", "c"),
    )  # fmt: skip
    task = Task(
        recipe=RECIPE,
        images=PixelCache(table, arrays.inputs, ("",) * 60, "key"),
        labels=arrays.labels,
        rows={"train": np.arange(0, 60, 2), "validation": np.arange(1, 60, 2)},
        classes=("a", "b", "c"),
        preprocessing=Preprocessing(32, 32, "squash", "bilinear", (0.0,) * 3, (1.0,) * 3),
        device="cpu",
        checkpoint_folder=folder / "checkpoint",
        history_file=folder / "history.csv",
        callbacks=[callback] if callback else [],
        **options,
    )
    return train_by_fit(task)


def history(folder: Path) -> list[dict[str, str]]:
    """Rows of the file, as text, without what a clock says."""
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert float(row.pop("seconds")) > 0
    return rows


def stages_and_epochs(folder: Path) -> list[str]:
    return [f"{row['stage']}.{row['epoch']}" for row in history(folder)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert train(folder).stopped is None
    return folder


def kill(folder: Path, at: int) -> None:
    """Train in a process that is killed at the end of an epoch, counted over both stages."""
    script = (
        f"import sys, signal; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
        "from pathlib import Path; from test_by_fit import At, train\n"
        f"train(Path({str(folder)!r}), At({at}, lambda: signal.raise_signal(signal.SIGKILL)))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def test_a_killed_training_has_its_history_so_far_and_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: Path
) -> None:
    kill(tmp_path, at=2)
    assert stages_and_epochs(tmp_path) == ["1.1", "1.2"]
    assert history(tmp_path) == history(undisturbed)[:2]
    # Killed again in the second stage, which is told of after two epochs of the first.
    kill(tmp_path, at=3)
    assert stages_and_epochs(tmp_path) == ["1.1", "1.2", "1.3", "1.4", "2.1"]
    assert is_unfinished(RECIPE, tmp_path / "checkpoint")
    train(tmp_path)
    assert history(tmp_path) == history(undisturbed)
    assert len(history(tmp_path)) == 7 and not is_unfinished(RECIPE, tmp_path / "checkpoint")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_extended_training_adds_to_the_same_file(tmp_path: Path, undisturbed: Path) -> None:
    train(tmp_path)
    longer = train(tmp_path, extend=2)
    assert stages_and_epochs(tmp_path)[4:] == ["2.1", "2.2", "2.3", "2.4", "2.5"]
    assert history(tmp_path)[:7] == history(undisturbed)
    assert len(longer.history) == 9


def interrupt() -> str:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("at", "action", "stopped", "words"),
    [
        (
            2, interrupt, Stopped("interrupted", 2, 4, 1, 2),
            "stopped at epoch 2 of 4 in stage 1 of 2 (interrupted)",
        ),
        (
            6, interrupt, Stopped("interrupted", 2, 3, 2, 2),
            "stopped at epoch 2 of 3 in stage 2 of 2 (interrupted)",
        ),
        (
            1, lambda: "enough", Stopped("enough", 1, 4, 1, 2),
            "stopped at epoch 1 of 4 in stage 1 of 2 (enough)",
        ),
    ],
)  # fmt: skip
def test_a_training_that_is_stopped_says_where_and_goes_on(
    tmp_path: Path, undisturbed: Path, at: int, action, stopped: Stopped, words: str
) -> None:
    trained = train(tmp_path, At(at, action))
    assert trained.stopped == stopped and stopped.text() == words
    assert history(tmp_path) == history(undisturbed)[:at]
    assert train(tmp_path).stopped is None
    assert history(tmp_path) == history(undisturbed)


def test_ctrl_c_before_the_second_stage_has_an_epoch_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tellapart.training import fit as fit_module

    take_epoch = fit_module.train_epoch

    def in_second_stage(plan, step, course, *others):
        if course.stage.learning_rate == 1e-4:
            with torch.no_grad():
                next(step.learner.network.parameters()).zero_()  # half an epoch's damage
            raise KeyboardInterrupt
        return take_epoch(plan, step, course, *others)

    monkeypatch.setattr(fit_module, "train_epoch", in_second_stage)
    trained = train(tmp_path)
    assert trained.stopped == Stopped("interrupted", 0, 3, 2, 2)
    assert stages_and_epochs(tmp_path) == ["1.1", "1.2", "1.3", "1.4"]
    assert all(np.any(value) for name, value in trained.state.items() if "weight" in name)
