"""A training step of a pretrained network: float32, bf16, and bf16 as tellapart trains.

    python benchmarks/training_step.py [--backbone tf_efficientnet_lite0] [--size 96]

The same network, batch and optimizer in one process, taking turns; images a second of each
one's fastest round. Pass mark: tellapart's way (``models.depthwise``) is at least 1.3 times
as fast as both others. The result goes to results/training_step.json; the exit code is 1 if
the mark is missed. On a processor without bf16 there is nothing to compare.
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

import timm
import torch
from torch.nn import functional

from tellapart.machine import has_bf16, keep_memory
from tellapart.models.depthwise import QuickDepthwise

RESULTS = Path(__file__).parent / "results" / "training_step.json"
WAYS = ("float32", "bf16", "tellapart")


class Training:
    """One network that is trained one way."""

    def __init__(self, backbone: str, size: int, batch_size: int, way: str) -> None:
        torch.manual_seed(0)
        self.way = way
        self.network = timm.create_model(backbone, num_classes=10)
        self.network.to(memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-4, fused=True)
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
            logits = self.network(self.images)
        functional.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def main() -> int:
    """Measure all three ways; returns 1 if the pass mark is missed."""
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
    size = options.batch_size
    trainings = [Training(options.backbone, options.size, size, way) for way in WAYS]
    fastest = dict.fromkeys(WAYS, float("inf"))
    for number in range(options.rounds + 1):  # the first round warms up
        for training in trainings:
            started = perf_counter()
            for _ in range(3):
                training.step()
            if number:
                seconds = (perf_counter() - started) / 3
                fastest[training.way] = min(fastest[training.way], seconds)
    speeds = {way: round(size / seconds, 1) for way, seconds in fastest.items()}
    ratio = speeds["tellapart"] / max(speeds["float32"], speeds["bf16"])
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "backbone": options.backbone, "image_size": options.size, "batch_size": size,
        "images_a_second": speeds, "ratio": round(ratio, 3), "passes": ratio >= 1.3,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0 if result["passes"] else 1


if __name__ == "__main__":
    sys.exit(main())
