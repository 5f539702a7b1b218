"""What a step of the training loop costs above a bare loop with the same arithmetic.

    python benchmarks/loop_overhead.py [--rounds 15] [--precision auto]

Both loops run in one process and take turns, on the same made images, with the same
network, optimizer, batch and number format. The bare loop is what one would write by hand:
slice a batch that is in memory, forward, backward, update; no metrics, no checks, no
display. The loop of ``tellapart.training.fit`` does all it always does. The pass marks are
the ratio of the fastest rounds (slower ones tell of other work on the machine): at most
1.10 for the CIFAR-10 baseline (32 pixels, batch 64) and at most 1.05 for the 180-pixel CNN
(batch 32). The result goes to results/loop_overhead.json; the exit code is 1 if a mark is
missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tellapart.machine import keep_memory
from tellapart.models.network import Network, build_network
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.progress import SilentProgress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe
from tellapart.training.batches import Arrays
from tellapart.training.fit import build_loop, train_epoch
from tellapart.training.processes import build_accelerator

RESULTS = Path(__file__).parent / "results" / "loop_overhead.json"

#: Recipe, steps a round, and the largest ratio that passes.
CASES = {"cifar-baseline-sgd": (60, 1.10), "dogs-cats-vanilla": (3, 1.05)}


def make_network(recipe: Recipe) -> Network:
    """The recipe's network, the same weights each time."""
    side = recipe.data.image_size or 32
    torch.manual_seed(0)
    preprocessing = Preprocessing(
        side, side, "squash", "bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    return build_network(recipe.model, recipe.num_classes, preprocessing)


class BareLoop:
    """Forward, backward, update, and nothing else."""

    def __init__(self, network: Network, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
        stage = recipe.training
        self.network = network.to(memory_format=torch.channels_last).train()
        self.images, self.labels = images, labels
        self.batch_size = stage.batch_size
        weights = network.parameters()
        if stage.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                weights, stage.learning_rate, stage.momentum, fused=True
            )
        else:
            self.optimizer = torch.optim.RMSprop(weights, stage.learning_rate, alpha=0.9)

    def run(self, bf16: bool) -> None:
        """One epoch in table order."""
        for start in range(0, len(self.images), self.batch_size):
            images = self.images[start : start + self.batch_size].permute(0, 3, 1, 2).float()
            labels = self.labels[start : start + self.batch_size]
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = self.network(images)
            loss = self.loss(logits.float(), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    @staticmethod
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of one or several outputs."""
        if logits.shape[1] == 1:
            return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
        return functional.cross_entropy(logits, labels)


def measure(name: str, precision: str, rounds: int) -> dict[str, Any]:
    """Seconds a step of both loops, taking turns; the fastest round of each."""
    steps, mark = CASES[name]
    recipe = load_recipe(name)
    stage = recipe.training.model_copy(update={"precision": precision})
    side = recipe.data.image_size or 32
    random = np.random.default_rng(0)
    number = steps * stage.batch_size
    pixels = random.integers(0, 256, (number, side, side, 3), dtype=np.uint8)
    labels = random.integers(0, recipe.num_classes, number)
    arrays = Arrays(pixels, labels)

    ours = build_loop(
        build_accelerator("cpu", stage), make_network(recipe), arrays, arrays, stage,
        num_classes=recipe.num_classes,
    )  # fmt: skip
    bf16 = ours.step.learner.bf16
    bare = BareLoop(
        make_network(recipe), recipe, torch.from_numpy(pixels), torch.from_numpy(labels)
    )
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    with SilentProgress().stage("", None) as display:
        for turn in range(-1, rounds):  # the first turn warms up
            for loop in ("ours", "bare") if turn % 2 else ("bare", "ours"):
                started = perf_counter()
                if loop == "ours":
                    train_epoch(ours.plan, ours.step, ours.course, 1, display)
                else:
                    bare.run(bf16)
                if turn >= 0:
                    seconds[loop].append((perf_counter() - started) / steps)
    ours_seconds, bare_seconds = map(min, (seconds["ours"], seconds["bare"]))
    return {
        "recipe": name,
        "batch_size": stage.batch_size,
        "image_size": side,
        "precision": "bf16" if bf16 else "float32",
        "rounds": rounds,
        "steps_a_round": steps,
        "ours_milliseconds_a_step": round(ours_seconds * 1e3, 3),
        "bare_milliseconds_a_step": round(bare_seconds * 1e3, 3),
        "ratio": round(ours_seconds / bare_seconds, 4),
        "largest_ratio_that_passes": mark,
        "passes": ours_seconds <= mark * bare_seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precision", choices=("auto", "float32", "bf16"), default="auto")
    options = parser.parse_args()
    keep_memory()
    cases = []
    for name in CASES:
        cases.append(measure(name, options.precision, options.rounds))
        print(json.dumps(cases[-1]), flush=True)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "cases": cases,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(case["passes"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
