"""A training step of a pretrained network: float32, bf16, and bf16 as tellapart trains.

    python benchmarks/training_step.py [--backbone tf_efficientnet_lite0] [--size 96]

The same network, batch and optimizer in one process, taking turns; images a second of each
one's fastest round; once with BatchNorm that learns and once with BatchNorm that stands
still, as in fine-tuning. Pass mark: tellapart's way (``models.depthwise``, and
``models.folding`` where BatchNorm stands still) is at least 1.3 times as fast as both others.
The result goes to results/training_step.json; the exit code is 1 if a mark is missed. On a
processor without bf16 there is nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import timm
import torch
from torch.nn import functional

from tellapart.machine import has_bf16, keep_memory
from tellapart.models.depthwise import QuickDepthwise
from tellapart.models.folding import find_pairs, folded

RESULTS = Path(__file__).parent / "results" / "training_step.json"
WAYS = ("float32", "bf16", "tellapart")


class Training:
    """One network that is trained one way."""

    def __init__(self, backbone: str, size: int, batch_size: int, way: str, still: bool) -> None:
        torch.manual_seed(0)
        self.way = way
        self.network = timm.create_model(backbone, num_classes=10)
        self.network.to(memory_format=torch.channels_last).train()
        for layer in self.network.modules():
            if still and isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval().requires_grad_(False)
        moving = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(moving, 1e-4, fused=True)
        self.pairs = find_pairs(self.network) if way == "tellapart" else []
        images = torch.rand(batch_size, 3, size, size)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(0, 10, (batch_size,))

    def step(self) -> None:
        """Forward, backward, update."""
        with ExitStack() as stack:
            if self.way != "float32":
                stack.enter_context(torch.autocast("cpu", torch.bfloat16))
            if self.way == "tellapart":
                stack.enter_context(QuickDepthwise())
                stack.enter_context(folded(self.pairs))
            logits = self.network(self.images)
        functional.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measure(backbone: str, size: int, batch_size: int, still: bool, rounds: int) -> dict[str, Any]:
    """Images a second of each way, and how far tellapart's is ahead of the better other one."""
    trainings = [Training(backbone, size, batch_size, way, still) for way in WAYS]
    fastest = dict.fromkeys(WAYS, float("inf"))
    for number in range(rounds + 1):  # the first round warms up
        for training in trainings:
            started = perf_counter()
            for _ in range(3):
                training.step()
            if number:
                seconds = (perf_counter() - started) / 3
                fastest[training.way] = min(fastest[training.way], seconds)
    speeds = {way: round(batch_size / seconds, 1) for way, seconds in fastest.items()}
    ratio = speeds["tellapart"] / max(speeds["float32"], speeds["bf16"])
    return {
        "batch_norm": "stands still" if still else "learns",
        "images_a_second": speeds, "ratio": round(ratio, 3), "passes": ratio >= 1.3,
    }  # fmt: skip


def main() -> int:
    """Measure all three ways, twice; returns 1 if a pass mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    if not has_bf16():
        print("This processor does not multiply bf16: nothing to compare.")
        return 0
    keep_memory()
    cases = [
        measure(options.backbone, options.size, options.batch_size, still, options.rounds)
        for still in (False, True)
    ]
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "backbone": options.backbone, "image_size": options.size,
        "batch_size": options.batch_size, "cases": cases,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0 if all(case["passes"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
