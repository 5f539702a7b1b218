"""Small finished runs for the tests of the verbs that use runs."""

from __future__ import annotations

from pathlib import Path

from tellapart.run import Run
from tellapart.verbs.train import train

#: The smallest network on 32 x 32 pixels for a few quick epochs.
SMALL = (
    "model={kind: scratch, network: small_cnn}",
    "data.train_folders=[]", "data.validation_folders=[]", "data.test_folders=[]",
    "training.batch_size=16", "training.learning_rate=0.05",
    "training.precision=float32",
)  # fmt: skip


def quick_run(folder: Path, run: Path, *, epochs: int = 3, seed: int = 0, **options: object) -> Run:
    """Train the smallest network on a folder of made images."""
    settings = [*SMALL, f"training.epochs={epochs}"]
    return train(
        folder, recipe="cifar-baseline-sgd", settings=settings, run=run, seed=seed, **options
    )
