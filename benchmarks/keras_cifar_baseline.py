"""The CIFAR-10 baseline of document 001 in Keras, to compare accuracy and time with.

Runs in an environment of its own, which needs nothing of tellapart:

    python -m venv keras-environment
    keras-environment/bin/pip install tensorflow-cpu pillow
    keras-environment/bin/python benchmarks/keras_cifar_baseline.py FOLDER --seeds 0 1 2

FOLDER holds train1 .. train5 and test, each with one folder a class. As in tellapart's
recipe "cifar-baseline-sgd": train on train1, 3, 4 and 5, validate on train2, test once with
the weights of the lowest validation loss; images (not batches) are shuffled each epoch.
``--reading files`` reads and decodes the files anew each epoch, as document 001 and most
notebooks do, in parallel and ahead of the training; ``--reading memory`` decodes them once and
keeps them, the fastest that Keras' own tools make simple. ``cifar_baseline.py`` runs both in
turn with tellapart's recipe and writes one result.

Each line of output is JSON: for a seed the test accuracy and loss, the best and last epoch,
and seconds for decoding, for training and for each epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

SIDE, BATCH_SIZE, EPOCHS = 32, 64, 30


def read(folder: Path, parts: tuple[str, ...], keep: bool) -> tuple[Any, int]:
    """All images of some folders as one data set, and how many there are."""
    data, number = None, 0
    for part in parts:
        images = keras.utils.image_dataset_from_directory(
            str(folder / part), image_size=(SIDE, SIDE), batch_size=None, shuffle=not keep
        )
        number += len(images.file_paths)
        data = images if data is None else data.concatenate(images)
    if keep:
        data = data.cache()
        for _ in data:  # fills the cache
            pass
    return data, number


def build_network() -> Any:
    """Model S: 156,074 parameters."""
    layers = keras.layers
    network = keras.Sequential([layers.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255)])
    for filters in (16, 32, 64):
        network.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        network.add(layers.MaxPooling2D(2))
    network.add(layers.Flatten())
    network.add(layers.Dense(128, activation="relu"))
    network.add(layers.Dense(10, activation="softmax"))
    if network.count_params() != 156_074:
        raise SystemExit(f"{network.count_params()} parameters instead of 156,074")
    return network


class EpochSeconds(keras.callbacks.Callback):
    """Seconds of each epoch, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(round(perf_counter() - self.started, 3))


def run(folder: Path, seed: int, keep: bool) -> dict[str, Any]:
    """Train and test once."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    started = perf_counter()
    train, num_train = read(folder, ("train1", "train3", "train4", "train5"), keep)
    validation, num_validation = read(folder, ("train2",), keep)
    test, num_test = read(folder, ("test",), keep)
    decoding_seconds = perf_counter() - started

    train = train.shuffle(num_train).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)
    validation = validation.batch(256).prefetch(tf.data.AUTOTUNE)
    network = build_network()
    network.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    clock = EpochSeconds()
    with tempfile.TemporaryDirectory() as temporary:
        best = str(Path(temporary) / "best.weights.h5")
        callbacks = [
            clock,
            keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=3),
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=6),
            keras.callbacks.ModelCheckpoint(
                best, monitor="val_loss", save_best_only=True, save_weights_only=True
            ),
        ]
        started = perf_counter()
        history = network.fit(
            train, validation_data=validation, epochs=EPOCHS, callbacks=callbacks, verbose=2
        ).history
        training_seconds = perf_counter() - started
        network.load_weights(best)
    loss, accuracy = network.evaluate(test.batch(256), verbose=0)
    losses = history["val_loss"]
    return {
        "seed": seed,
        "test_accuracy": round(float(accuracy), 4),
        "test_loss": round(float(loss), 4),
        "validation_accuracy": round(float(history["val_accuracy"][losses.index(min(losses))]), 4),
        "best_epoch": losses.index(min(losses)) + 1,
        "last_epoch": len(losses),
        "images": {"train": num_train, "validation": num_validation, "test": num_test},
        "decoding_seconds": round(decoding_seconds, 2),
        "training_seconds": round(training_seconds, 2),
        "epoch_seconds": clock.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--reading", choices=("files", "memory"), default="files")
    options = parser.parse_args()
    keep = options.reading == "memory"
    for seed in options.seeds:
        result = {**run(options.folder, seed, keep), "keras": keras.__version__}
        print(json.dumps({**result, "tensorflow": tf.__version__}), flush=True)


if __name__ == "__main__":
    main()
