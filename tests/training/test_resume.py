"""A training that is killed and resumed ends as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

sys.path.insert(0, str(Path(__file__).parent))

from tiny import NUM_CLASSES, tiny_arrays, tiny_network

from tellapart import recipe
from tellapart.errors import RunError
from tellapart.pixels.augmentation import build_augmentation
from tellapart.recipe import EarlyStopping, ReduceOnPlateau, TrainingStage
from tellapart.training.checkpoint import FILE_NAME
from tellapart.training.fit import FitResult, fit
from tellapart.training.position import Stopped

#: Everything that has a state: momentum, average, plateau, patience, dropout, all the draws.
STAGE = TrainingStage(
    epochs=6,
    batch_size=16,
    optimizer="adam",
    learning_rate=0.02,
    ema_decay=0.9,
    mixup=0.2,
    cutmix=0.5,
    reduce_on_plateau=ReduceOnPlateau(factor=0.5, patience=1, minimum_change=0.1),
    early_stopping=EarlyStopping(patience=50),
)


def train(
    folder: Path | None, die_at_step: int = 0, stage: TrainingStage = STAGE, **options
) -> FitResult:
    """Train the tiny task; with ``die_at_step`` the process kills itself in that step."""
    network = tiny_network(dropout=0.2, l2=0.01)
    steps = 0

    def count(module, inputs):
        nonlocal steps
        steps += module.training
        if die_at_step and steps == die_at_step:
            signal.raise_signal(signal.SIGKILL)

    network.body.register_forward_pre_hook(count)
    augmentation = build_augmentation(
        [
            recipe.Rotation(transform="rotation", degrees=10),
            recipe.GaussianNoise(transform="gaussian_noise", standard_deviation=0.02),
        ]
    )
    return fit(
        network, tiny_arrays(70, 1), tiny_arrays(40, 2), stage, num_classes=NUM_CLASSES,
        augmentation=augmentation, seed=5, device="cpu", checkpoint_folder=folder, **options,
    )  # fmt: skip


def without_seconds(result: FitResult) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]


def assert_equal(one: FitResult, other: FitResult) -> None:
    assert without_seconds(one) == without_seconds(other)
    assert one.best_epoch == other.best_epoch
    assert one.best_state.keys() == other.best_state.keys()
    for name, value in one.best_state.items():
        assert torch.equal(value, other.best_state[name]), name


@pytest.fixture(scope="module")
def undisturbed() -> FitResult:
    return train(None)


def test_sigkill_in_the_middle_of_an_epoch_changes_no_digit(
    tmp_path: Path, undisturbed: FitResult
) -> None:
    # 5 steps an epoch: step 18 is the third of the fourth epoch.
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
        f"from pathlib import Path; from test_resume import train\n"
        f"train(Path({str(tmp_path)!r}), die_at_step=18)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [p.name for p in tmp_path.iterdir()] == [FILE_NAME]
    assert_equal(train(tmp_path), undisturbed)


def test_a_finished_training_is_not_done_again(tmp_path: Path, undisturbed: FitResult) -> None:
    train(tmp_path)
    again = train(tmp_path, die_at_step=1)  # would die if it trained
    assert_equal(again, undisturbed)


def test_extend_goes_on_as_one_longer_training(tmp_path: Path, undisturbed: FitResult) -> None:
    train(tmp_path, stage=STAGE.model_copy(update={"epochs": 4}))
    extended = train(tmp_path, stage=STAGE.model_copy(update={"epochs": 4}), extend=2)
    assert_equal(extended, undisturbed)


def test_extend_after_early_stopping_starts_the_patience_anew(tmp_path: Path) -> None:
    stage = TrainingStage(
        epochs=30, batch_size=16, learning_rate=1e-30, early_stopping=EarlyStopping(
            patience=2, minimum_change=0.5
        ),
    )  # fmt: skip
    stopped = train(tmp_path, stage=stage)
    assert stopped.stopped == Stopped("early stopping", 3, 30)
    longer = train(tmp_path, stage=stage, extend=5)
    assert longer.stopped == Stopped("early stopping", 5, 8)
    assert without_seconds(longer)[:3] == without_seconds(stopped)


def test_nothing_to_extend_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no checkpoint in .* to extend by 3 epochs"):
        train(tmp_path, extend=3)


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    short = STAGE.model_copy(update={"epochs": 1})
    train(tmp_path, stage=short)
    other = short.model_copy(update={"learning_rate": 0.5, "mixup": 0.0})
    with pytest.raises(RunError, match=r"of another training .its learning_rate, mixup differ"):
        train(tmp_path, stage=other)


def test_a_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match=r"checkpoint .* cannot be read .* delete its folder"):
        train(tmp_path)


def test_a_checkpoint_whose_weights_or_facts_were_changed_is_said(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from tellapart.training.checkpoint import load_checkpoint, save_checkpoint

    def changed(value: float, facts: str) -> None:
        save_checkpoint(tmp_path, {"w": torch.ones(3), "n": torch.tensor(2)}, {"epoch": 1})
        with safe_open(tmp_path / FILE_NAME, framework="pt") as file:
            metadata = file.metadata()
        tensors = {"w": torch.full((3,), value), "n": torch.tensor(2)}
        save_file(tensors, tmp_path / FILE_NAME, metadata=metadata | {"facts": facts})

    changed(1.0, '{"epoch": 1}')
    assert load_checkpoint(tmp_path) is not None
    for value, facts in ((0.0, '{"epoch": 1}'), (1.0, '{"epoch": 2}')):
        changed(value, facts)
        with pytest.raises(RunError, match="it is not as it was written"):
            load_checkpoint(tmp_path)
