"""A batch that does not fit into memory is cut, and the step stays the same."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))

from tiny import NUM_CLASSES, Listener, tiny_arrays, tiny_network

from tellapart.errors import TrainingError
from tellapart.pixels.augmentation import build_augmentation
from tellapart.recipe import GaussianNoise, TrainingStage
from tellapart.training.batches import Arrays
from tellapart.training.fit import FitResult, fit
from tellapart.training.memory import is_out_of_memory

#: What PyTorch says on a CPU and on a GPU.
ERRORS = (
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
)


def network_that_fits(most: int, error: Exception = ERRORS[0], at_a_time=None) -> nn.Module:
    """A network without BatchNorm that takes no more than ``most`` images at a time."""
    network = tiny_network(l2=0.01)
    network.body[1] = nn.Identity()

    def refuse(module, inputs):
        if at_a_time is not None and module.training:
            at_a_time.append(len(inputs[0]))
        if len(inputs[0]) > most:
            raise error

    network.register_forward_pre_hook(refuse)
    return network


def train(network: nn.Module, listener: Listener | None = None, **options) -> FitResult:
    stage = TrainingStage(
        epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.05, momentum=0.9, mixup=0.2,
        precision="float32",
    )  # fmt: skip
    return fit(
        network, tiny_arrays(69, 1), tiny_arrays(40, 2), stage, num_classes=NUM_CLASSES,
        device="cpu", progress=listener or Listener(), **options,
    )  # fmt: skip


@pytest.mark.parametrize("error", ERRORS)
def test_the_pieces_of_a_batch_make_the_step_of_the_batch(error: Exception) -> None:
    whole = train(network_that_fits(1000))
    listener, sizes = Listener(), []
    cut = train(network_that_fits(5, error, sizes), listener)
    for row, expected in zip(cut.history, whole.history, strict=True):
        del row["seconds"], expected["seconds"]
        assert row == pytest.approx(expected, rel=1e-5)
    for name, value in whole.best_state.items():
        assert torch.allclose(cut.best_state[name], value, rtol=1e-4, atol=1e-6), name
    # 16, 8 and then 4 at a time; it is not tried again with more.
    assert sizes[:3] == [16, 8, 4] and sizes.count(16) == 1
    said = [note for note in listener.notes if "does not fit into memory" in note]
    assert len(said) == 1 and "A batch of 16 images" in said[0] and "in pieces of 4" in said[0]
    assert "training.batch_size=4" in said[0]
    assert cut.notes == said and not whole.notes


def test_a_resumed_training_knows_its_pieces(tmp_path: Path) -> None:
    def first(module, inputs):
        if tmp_path.joinpath("training.safetensors").exists() and module.training:
            raise KeyboardInterrupt

    network = network_that_fits(8)
    network.register_forward_pre_hook(first)
    assert train(network, checkpoint_folder=tmp_path).last_epoch == 1
    sizes: list[int] = []
    resumed = train(network_that_fits(8, at_a_time=sizes), checkpoint_folder=tmp_path)
    assert resumed.last_epoch == 2 and max(sizes[:5]) == 8
    assert resumed.history[-1]["loss"] == train(network_that_fits(8)).history[-1]["loss"]


def test_what_can_never_fit_is_a_sentence() -> None:
    with pytest.raises(TrainingError, match=r"even 1 image of 8x8 pixels at a time fit .* cpu; "):
        train(network_that_fits(0))
    with_norm = tiny_network()  # one image says nothing to BatchNorm
    with_norm.register_forward_pre_hook(lambda module, inputs: (_ for _ in ()).throw(ERRORS[1]))
    with pytest.raises(TrainingError, match="even 2 images of 8x8 pixels at a time"):
        train(with_norm)


def test_other_errors_are_not_taken_for_a_full_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(network_that_fits(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))


def test_noise_of_a_recipe_is_in_units_of_0_to_1_where_the_network_gets_it() -> None:
    """0.1 of white is 25.5 of 255; 0.1 of 255 is a fortieth of a grey level."""
    noise = GaussianNoise(transform="gaussian_noise", standard_deviation=0.1)
    seen: list[torch.Tensor] = []

    class Seeing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(3, NUM_CLASSES)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(images.detach().clone())
            return self.output(images.mean(dim=(2, 3)) / 255)

    labels = np.arange(30) % NUM_CLASSES
    grey = Arrays(np.full((30, 16, 16, 3), 128, np.uint8), labels)
    stage = TrainingStage(epochs=1, batch_size=30, precision="float32")
    augmentation = build_augmentation([noise])
    fit(Seeing(), grey, grey, stage, num_classes=NUM_CLASSES, augmentation=augmentation,
        device="cpu", progress=Listener())  # fmt: skip
    assert seen and float((torch.cat(seen) - 128).std()) == pytest.approx(25.5, rel=0.02)
