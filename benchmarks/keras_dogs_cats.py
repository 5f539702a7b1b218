"""The plain network of document 002 (Dogs vs. Cats) in Keras, to compare accuracy with.

Runs in the environment described in ``keras_cifar_baseline.py``:

    keras-environment/bin/python benchmarks/keras_dogs_cats.py FOLDER --seeds 0 1 2

FOLDER holds train, validation and test, each with one folder a class. As in tellapart's recipe
"dogs-cats-vanilla" and in the document: 180 pixels by Keras' own resizing, RMSprop, 30 epochs,
tested once with the weights of the lowest validation loss.

Each line of output is JSON: for a seed the test accuracy and loss, validation accuracy and loss
and number of the best epoch, and seconds of each epoch. Images are decoded once and kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_cifar_baseline import EpochSeconds

SIDE, BATCH_SIZE, EPOCHS = 180, 32, 30


def read(folder: Path, part: str, shuffled: bool) -> Any:
    """One part of the data in batches, decoded once and kept."""
    images = keras.utils.image_dataset_from_directory(
        str(folder / part), image_size=(SIDE, SIDE), batch_size=None, shuffle=False
    )
    data = images.cache()
    for _ in data:  # fills the cache
        pass
    if shuffled:
        data = data.shuffle(len(images.file_paths))
    return data.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


def build_network() -> Any:
    """002-C0: 991,041 parameters."""
    layers = keras.layers
    network = keras.Sequential([layers.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255)])
    for filters in (32, 64, 128, 256):
        network.add(layers.Conv2D(filters, 3, activation="relu"))
        network.add(layers.MaxPooling2D(2))
    network.add(layers.Conv2D(256, 3, activation="relu"))
    network.add(layers.Flatten())
    network.add(layers.Dense(1, activation="sigmoid"))
    if network.count_params() != 991_041:
        raise SystemExit(f"{network.count_params()} parameters instead of 991,041")
    return network


def run(parts: dict[str, Any], seed: int, epochs: int) -> dict[str, Any]:
    """Train and test once."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    network = build_network()
    network.compile(keras.optimizers.RMSprop(0.001), "binary_crossentropy", metrics=["accuracy"])
    clock = EpochSeconds()
    with tempfile.TemporaryDirectory() as temporary:
        best = str(Path(temporary) / "best.weights.h5")
        keep_best = keras.callbacks.ModelCheckpoint(
            best, monitor="val_loss", save_best_only=True, save_weights_only=True
        )
        history = network.fit(
            parts["train"],
            validation_data=parts["validation"],
            epochs=epochs,
            callbacks=[clock, keep_best],
            verbose=2,
        ).history
        network.load_weights(best)
    loss, accuracy = network.evaluate(parts["test"], verbose=0)
    losses = history["val_loss"]
    best_index = losses.index(min(losses))
    return {
        "seed": seed,
        "test_accuracy": round(float(accuracy), 4),
        "test_loss": round(float(loss), 4),
        "best_epoch": best_index + 1,
        "validation_loss": round(float(losses[best_index]), 4),
        "validation_accuracy": round(float(history["val_accuracy"][best_index]), 4),
        "epochs": len(losses),
        "epoch_seconds": clock.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    parts = {
        part: read(options.folder, part, part == "train")
        for part in ("train", "validation", "test")
    }
    for seed in options.seeds:
        result = {**run(parts, seed, options.epochs), "keras": keras.__version__}
        print(json.dumps({**result, "tensorflow": tf.__version__}), flush=True)


if __name__ == "__main__":
    main()
