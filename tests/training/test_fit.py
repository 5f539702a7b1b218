"""The loop: what it computes, what it returns, and when it stops."""

from __future__ import annotations

import csv
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from tiny import NUM_CLASSES, Listener, TinyNetwork, tiny_arrays, tiny_network

from tellapart import recipe
from tellapart.errors import RecipeError, TrainingError
from tellapart.models.folding import find_pairs
from tellapart.models.network import build_network
from tellapart.pixels.augmentation import build_augmentation
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel, EarlyStopping, ReduceOnPlateau, TrainingStage
from tellapart.training import batches as batches_module
from tellapart.training import learner as learner_module
from tellapart.training.batches import Arrays, derive_seed, shuffled_plan
from tellapart.training.callbacks import Callback, HistoryFile, TensorBoardLog
from tellapart.training.fit import FitResult, fit
from tellapart.training.position import Stopped

TRAIN, VALIDATION = tiny_arrays(70, 1), tiny_arrays(40, 2)
STILL = 1e-30  # a learning rate that moves no float32 weight


def run(network: nn.Module | None = None, **options) -> FitResult:
    """Fit the tiny task; keywords that are settings of a stage go there."""
    settings = {k: options.pop(k) for k in list(options) if k in TrainingStage.model_fields}
    stage = TrainingStage(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.01, **settings})
    parts = {"train": TRAIN, "validation": VALIDATION}
    train, validation = (options.pop(name, part) for name, part in parts.items())
    return fit(
        network or tiny_network(), train, validation, stage,
        **{"num_classes": NUM_CLASSES, "device": "cpu", **options},
    )  # fmt: skip


def as_float(arrays: Arrays) -> torch.Tensor:
    return torch.from_numpy(arrays.inputs).permute(0, 3, 1, 2).float()


# --- what it computes ----------------------------------------------------------------------


def test_folding_batch_norm_that_stands_still_changes_no_number(monkeypatch) -> None:
    """A backbone fine-tuned with its BatchNorms in the convolutions, and without."""
    size = Preprocessing(32, 32, "squash", "bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    model = BackboneModel(backbone="mobilenetv2_035", weights="none")
    images = {"train": tiny_arrays(24, 1, side=32), "validation": tiny_arrays(12, 2, side=32)}
    found = []

    def train(pairs) -> FitResult:
        monkeypatch.setattr(learner_module, "find_pairs", pairs)
        torch.manual_seed(0)
        network = build_network(model, NUM_CLASSES, size)
        settings = {"optimizer": "sgd", "precision": "float32", "epochs": 2, "batch_size": 8}
        return run(network, **settings, **images)

    folded = train(lambda network: found.append(find_pairs(network)) or found[-1])
    plain = train(lambda network: [])
    assert len(found[0]) == 52
    for name in ("loss", "validation_loss"):
        ours, theirs = ([row[name] for row in result.history] for result in (folded, plain))
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert plain.history[0]["loss"] != plain.history[1]["loss"]


def test_the_loop_is_plain_gradient_descent_with_keras_l2() -> None:
    """Weights and losses agree with a loop written by hand on the same batches."""
    stage = {"optimizer": "sgd", "momentum": 0.9, "precision": "float32", "epochs": 2}
    network = tiny_network(l2=0.05)
    result = run(network, **stage)

    mine = tiny_network(l2=0.05)
    mine.body[1].momentum = 0.2  # five steps an epoch: see training.batch_norm
    optimizer = torch.optim.SGD(mine.parameters(), lr=0.01, momentum=0.9)
    images, labels = as_float(TRAIN), torch.from_numpy(TRAIN.labels)
    states, losses = [], []
    for epoch in (1, 2):
        mine.train()
        generator = torch.Generator().manual_seed(derive_seed(0, "shuffling", epoch))
        total = 0.0
        for ids in shuffled_plan(70, 16, generator):
            loss = functional.cross_entropy(mine(images[ids]), labels[ids])
            loss = loss + 0.05 * (mine.output.weight**2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(ids)
        mine.eval()
        with torch.no_grad():
            logits = mine(as_float(VALIDATION))
            data = float(functional.cross_entropy(logits, torch.from_numpy(VALIDATION.labels)))
        penalty = 0.05 * mine.output.weight.square().sum().item()
        hits = (logits.argmax(1).numpy() == VALIDATION.labels).mean()
        losses.append((total / 70, data + penalty, data, hits))
        states.append({k: v.clone() for k, v in mine.state_dict().items()})

    for row, (loss, validation_loss, data, hits) in zip(result.history, losses, strict=True):
        assert row["loss"] == pytest.approx(loss, rel=1e-4)
        assert row["validation_loss"] == pytest.approx(validation_loss, rel=1e-4)
        assert row["validation_data_loss"] == pytest.approx(data, rel=1e-4)
        assert row["validation_accuracy"] == pytest.approx(hits)
    best = min((0, 1), key=lambda i: losses[i][1])
    for name, value in states[best].items():
        assert torch.allclose(result.best_state[name], value, atol=1e-5), name


def test_one_sigmoid_output_learns_like_keras_binary_crossentropy() -> None:
    def two(arrays: Arrays) -> Arrays:
        kept = np.flatnonzero(arrays.labels < 2)
        return Arrays(arrays.inputs, arrays.labels[kept], kept)

    result = run(
        tiny_network(num_outputs=1), train=two(TRAIN), validation=two(VALIDATION),
        num_classes=2, epochs=8, precision="float32",
    )  # fmt: skip
    network = TinyNetwork(num_outputs=1)
    network.load_state_dict(result.best_state)
    rows = two(VALIDATION).rows
    with torch.no_grad():
        p = torch.sigmoid(network.eval()(as_float(VALIDATION)[rows])[:, 0]).numpy()
    truth = VALIDATION.labels[rows]
    loss = -np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    row = result.history[result.best_epoch - 1]
    assert row["validation_loss"] == pytest.approx(loss, rel=1e-4)
    assert row["validation_accuracy"] == pytest.approx(np.mean((p > 0.5) == truth))
    assert row["validation_accuracy"] > 0.8


def test_it_learns_and_returns_the_epoch_with_the_lowest_validation_loss() -> None:
    network = tiny_network()
    result = run(network, epochs=12, learning_rate=0.03)
    losses = [row["validation_loss"] for row in result.history]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert result.last_epoch == 12 and result.stopped is None
    assert result.history[-1]["accuracy"] > 0.9
    for name, value in network.state_dict().items():
        assert torch.equal(value, result.best_state[name])
    assert not network.training


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.05},
        {"optimizer": "rmsprop", "momentum": 0.5, "learning_rate": 0.003},
        {"optimizer": "adamw", "weight_decay": 0.01, "gradient_clip": 1.0},
        {"schedule": "cosine", "warmup": 0.1, "label_smoothing": 0.1, "mixup": 0.2},
        {"schedule": "one_cycle", "warmup": 0.3, "cutmix": 1.0, "ema_decay": 0.9},
        {"class_weight": "balanced", "precision": "bf16", "mixup": 0.2, "cutmix": 0.2},
        {"sampler": "balanced"},
    ],
)
def test_every_setting_trains(settings: dict) -> None:
    result = run(**{"epochs": 14, "learning_rate": 0.02, **settings})
    assert result.history[result.best_epoch - 1]["validation_accuracy"] > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "rmsprop", "momentum": 0.9},
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
    ],
)
def test_every_optimizer_takes_stages_that_open_later(settings: dict) -> None:
    """A weight whose stage opens in the second epoch has no momentum there yet."""
    moved = []
    for epochs in (1, 2):
        network = tiny_network()
        network.backbone = network.body
        before = {name: weight.clone() for name, weight in network.state_dict().items()}
        result = run(network, epochs=epochs, gradual_unfreezing=1, **settings)
        assert result.best_epoch == epochs
        moved.append({n for n, w in network.named_parameters() if not w.equal(before[n])})
    assert moved[0] == {"output.weight", "output.bias"}
    # The output side of the backbone: BatchNorm; the convolution would come in the third.
    assert moved[1] > moved[0] and "body.0.weight" not in moved[1]


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    def numbers(seed: int) -> list[float]:
        augmentation = build_augmentation([recipe.Flip(transform="flip")])
        result = run(tiny_network(dropout=0.3), seed=seed, augmentation=augmentation, mixup=0.2)
        return [row["loss"] for row in result.history]

    first = numbers(0)
    assert numbers(0) == first and numbers(1) != first


def test_the_callers_random_state_is_left_alone() -> None:
    network = tiny_network(dropout=0.3)
    before = torch.get_rng_state()
    run(network)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_weight_average_is_what_is_evaluated_and_kept() -> None:
    plain = run(epochs=1, learning_rate=0.05)
    averaged = run(epochs=1, learning_rate=0.05, ema_decay=0.99)
    assert averaged.history[0]["loss"] == plain.history[0]["loss"]
    assert averaged.history[0]["validation_loss"] != plain.history[0]["validation_loss"]
    network = TinyNetwork()
    network.load_state_dict(averaged.best_state)
    with torch.no_grad():
        loss = functional.cross_entropy(
            network.eval()(as_float(VALIDATION)), torch.from_numpy(VALIDATION.labels)
        )
    assert averaged.history[0]["validation_loss"] == pytest.approx(float(loss), abs=0.01)


# --- what goes in ---------------------------------------------------------------------------


class Recorder:
    """An augmentation that notes what it was given, by the mean of each image."""

    def __init__(self) -> None:
        self.means: list[float] = []

    def __call__(self, images, generator):
        self.means += images.mean(dim=(1, 2, 3)).tolist()
        return images

    def after_normalisation(self, images, std, generator):
        return images


def test_training_images_are_augmented_once_an_epoch_and_validation_never() -> None:
    recorder = Recorder()
    run(augmentation=recorder, epochs=2)
    expected = as_float(TRAIN).mean(dim=(1, 2, 3)).tolist()
    assert sorted(recorder.means[:70]) == pytest.approx(sorted(expected))
    assert sorted(recorder.means[70:]) == pytest.approx(sorted(expected))
    assert recorder.means[:70] != recorder.means[70:]


def test_validation_numbers_do_not_depend_on_augmentation() -> None:
    black = build_augmentation([recipe.Brightness(transform="brightness", fraction=1.0)])
    # Without BatchNorm, whose statistics would come from the augmented training images.
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, NUM_CLASSES))
    losses = [
        run(network, learning_rate=STILL, epochs=1, augmentation=a).history[0]
        for a in (None, black)
    ]
    assert losses[0]["validation_loss"] == losses[1]["validation_loss"]
    assert losses[0]["loss"] != losses[1]["loss"]


def test_images_on_disk_train_exactly_as_images_in_memory(tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "pixels.npy", TRAIN.inputs)
    mapped = Arrays(np.load(tmp_path / "pixels.npy", mmap_mode="r"), TRAIN.labels)
    in_memory = run()
    monkeypatch.setattr(batches_module, "MEMORY_SHARE", 0.0)
    on_disk = run(train=mapped)
    assert [r["loss"] for r in in_memory.history] == [r["loss"] for r in on_disk.history]


def test_a_head_learns_on_features_and_draws_a_view_of_each_image_an_epoch() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)
    views = np.eye(3, 5)[labels][None] + np.arange(4).reshape(4, 1, 1) * 100
    seen: list[torch.Tensor] = []
    head = nn.Linear(5, 3)
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    run(head, train=Arrays(views.astype(np.float32), labels),
        validation=Arrays(views[0].astype(np.float32), labels), epochs=4)  # fmt: skip
    training = torch.cat([x for x in seen if len(x) <= 16])
    drawn = (training[:, 4] / 100).round().long()
    assert len(drawn) == 4 * 60
    assert torch.bincount(drawn, minlength=4).min() > 30


def test_cutmix_of_feature_vectors_is_refused_and_mixup_of_them_is_not() -> None:
    labels = np.arange(12) % NUM_CLASSES
    for inputs in (np.ones((12, 5), np.float32), np.ones((2, 12, 5), np.float32)):
        features = Arrays(inputs, labels)
        with pytest.raises(RecipeError, match=r"training.cutmix=1 needs images, .* one vector"):
            run(nn.Linear(5, NUM_CLASSES), train=features, validation=features, cutmix=1.0)
        run(nn.Linear(5, NUM_CLASSES), train=features, validation=features, mixup=1.0)


def test_empty_parts_are_refused() -> None:
    empty = Arrays(TRAIN.inputs[:0], TRAIN.labels[:0])
    with pytest.raises(TrainingError, match="The validation part has no images"):
        run(validation=empty)


# --- when it stops --------------------------------------------------------------------------


def test_early_stopping_counts_epochs_without_a_lower_loss() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, NUM_CLASSES))
    result = run(network, epochs=20, learning_rate=STILL, early_stopping=EarlyStopping(patience=3))
    assert (result.last_epoch, result.best_epoch) == (4, 1)
    assert result.stopped == Stopped("early stopping", 4, 20) and result.stopped.as_planned


def test_the_learning_rate_falls_on_a_plateau() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, NUM_CLASSES))
    plateau = ReduceOnPlateau(factor=0.1, patience=2)
    result = run(network, epochs=6, learning_rate=STILL, reduce_on_plateau=plateau)
    rates = [row["learning_rate"] / STILL for row in result.history]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01])


def test_a_time_limit_ends_training_after_what_it_could_do() -> None:
    result = run(epochs=1000, time_limit_seconds=1e-6)
    assert result.stopped == Stopped("time limit", 1, 1000)


def test_ctrl_c_keeps_the_best_so_far() -> None:
    class Impatient(Listener):
        def note(self, text: str) -> None:
            if text.startswith("epoch 3"):
                raise KeyboardInterrupt

    network = tiny_network()
    result = run(network, epochs=50, progress=Impatient())
    assert result.stopped == Stopped("interrupted", 3, 50)
    assert result.stopped.text() == "stopped at epoch 3 of 50 (interrupted)"
    assert torch.equal(network.output.weight, result.best_state["output.weight"])


def test_ctrl_c_before_the_first_epoch_is_done_has_nothing_to_keep() -> None:
    network = tiny_network()

    def interrupt(module, inputs):
        raise KeyboardInterrupt

    network.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(network)


def test_a_loss_that_is_not_a_number_stops_with_what_to_do() -> None:
    with pytest.raises(TrainingError, match=r"loss became (nan|inf) in epoch 1 .* 1e\+30; set "):
        run(optimizer="sgd", learning_rate=1e30)


def test_a_callback_that_fails_stops_the_training() -> None:
    class Broken(Listener):
        def note(self, text: str) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(progress=Broken())


def test_a_callback_can_stop_the_training_by_a_word() -> None:
    class Enough(Callback):
        closed = 0

        def end_epoch(self, history) -> str | None:
            return "enough" if len(history) == 2 else None

        def close(self) -> None:
            self.closed += 1

    enough = Enough()
    result = run(epochs=30, callbacks=[enough])
    assert result.stopped == Stopped("enough", 2, 30) and not result.stopped.as_planned
    assert len(result.history) == 2 and enough.closed == 1
    # At the last epoch there is nothing to stop.
    assert run(epochs=2, callbacks=[enough]).stopped is None


# --- what it leaves -------------------------------------------------------------------------


def test_history_goes_to_csv_with_all_digits_and_to_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    listener = Listener()
    result = run(
        callbacks=[HistoryFile(tmp_path / "history.csv"), TensorBoardLog(tmp_path / "logs")],
        progress=listener,
    )
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "stage", "epoch", "loss", "accuracy", "validation_loss", "validation_accuracy",
        "data_loss", "validation_data_loss", "learning_rate", "seconds",
    ]  # fmt: skip
    assert [float(r["validation_loss"]) for r in rows] == [
        r["validation_loss"] for r in result.history
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history.csv", "logs"]
    events = EventAccumulator(str(tmp_path / "logs")).Reload().Scalars("validation_loss")
    assert [e.step for e in events] == [1, 2, 3]
    assert events[2].value == pytest.approx(result.history[2]["validation_loss"])
    assert [n for n in listener.notes if n.startswith("epoch 2: loss ")]


def test_precision_follows_a_rule_and_not_a_timing(monkeypatch) -> None:
    from tellapart.training import precision

    cpu = torch.device("cpu")
    layer, head = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), nn.Linear(5, 3)
    for here in (True, False):
        monkeypatch.setattr(precision, "has_bf16", lambda here=here: here)
        assert precision.trains_in_bf16("auto", cpu, layer) is here
        assert precision.trains_in_bf16("auto", cpu, head) is False
        assert precision.trains_in_bf16("bf16", cpu, head) is True
        assert precision.trains_in_bf16("float32", cpu, layer) is False
    features = Arrays(np.zeros((9, 5), np.float32), np.arange(9) % 3)
    assert run(head, train=features, validation=features).facts["precision"] == "float32"


# --- what it trains on, and in which order ---------------------------------------------------


def batches_seen(labels: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    """Which images the network got together, in training and in evaluation, over three epochs."""
    trained: list[list[int]] = []
    evaluated: list[list[int]] = []

    class Seeing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(1, NUM_CLASSES)

        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            to = trained if self.training else evaluated
            to.append(numbers[:, 0].int().tolist())
            return self.output(numbers)

    numbers = Arrays(np.arange(len(labels), dtype=np.float32)[:, None], labels)
    run(Seeing(), train=numbers, validation=numbers, epochs=3, learning_rate=STILL)
    return trained, evaluated


def test_a_training_shuffles_images_and_evaluates_in_table_order() -> None:
    """A table sorted by class, as folders give it: no batch may be of one class."""
    labels = np.repeat(np.arange(3), 208)  # more than one batch of evaluation
    trained, evaluated = batches_seen(labels)
    assert len(trained) == 3 * 39 and len(evaluated) > 3
    for start in (0, 39, 78):
        epoch = trained[start : start + 39]
        assert sorted(chain.from_iterable(epoch)) == list(range(624))
        assert all(len(set(labels[ids])) >= 2 for ids in epoch)
        together = {frozenset(range(s, s + 16)) for s in range(0, 624, 16)}
        assert not together & {frozenset(ids) for ids in epoch}, "whole batches were shuffled"
    assert trained[:39] != trained[39:78]
    assert list(chain.from_iterable(evaluated)) == list(range(624)) * 3


def test_the_weights_kept_are_those_of_the_best_epoch_not_of_the_last() -> None:
    """The learning rate is so large that later epochs undo what earlier ones learned."""
    network = tiny_network()
    result = run(network, epochs=10, learning_rate=0.5, optimizer="sgd", momentum=0.9)
    assert 0 < result.best_epoch < result.last_epoch
    with torch.no_grad():
        logits = network(as_float(VALIDATION))
    loss = float(functional.cross_entropy(logits, torch.from_numpy(VALIDATION.labels)))
    assert loss == pytest.approx(result.history[result.best_epoch - 1]["validation_loss"], rel=1e-3)
    assert loss < result.history[-1]["validation_loss"] - 1e-3
