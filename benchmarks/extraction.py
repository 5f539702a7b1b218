"""Images a second through a frozen backbone: ours beside what people would use instead.

    python benchmarks/extraction.py [--only mobilenetv2_100] [--seconds 3] [--json FILE]

VGG16 at 128 pixels (its map), MobileNetV2 at 224 and EfficientNet-Lite0 at 224 (pooled), random
weights, uint8 pixels in memory to float32 features. Peers run the same network with the same
normalisation in the graph: eager float32 PyTorch, ONNX Runtime as it comes, OpenVINO as it
comes (batches of 32), and OpenVINO as its manual advises for throughput (asynchronous requests
of single images). All take turns in one process, whose memory is kept for all (see
``tellapart.machine.keep_memory``); the middle one of several turns counts. Start-up is told
separately: network in hand to first features, ours with its check against float32; and ours
from a new process with the converted network in the cache.

Ends with 1 if ours reaches less than 90 % of the fastest for a network.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tellapart.engines.features import build_backbone_engine
from tellapart.engines.openvino import import_openvino
from tellapart.engines.parity import check_images
from tellapart.machine import describe_machine, keep_memory
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe import BackboneModel

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

#: network, height and width, features
CASES = (
    ("vgg16", 128, "map"),
    ("mobilenetv2_100", 224, "pooled"),
    ("tf_efficientnet_lite0", 224, "pooled"),
)
PASS_MARK = 0.9
BATCH = 32
TURNS = 5


class FromPixels(nn.Module):
    """uint8 (N, H, W, 3) to features, normalisation included: what every peer is given."""

    def __init__(self, name: str, features: str) -> None:
        super().__init__()
        from tellapart.models.backbone import build_backbone
        from tellapart.models.network import Normalise

        self.normalise = Normalise((0.5,) * 3, (0.5,) * 3)
        self.backbone = build_backbone(name, "none", features=features)  # type: ignore[arg-type]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.backbone(self.normalise(pixels.permute(0, 3, 1, 2).float()))


def in_batches(run: Run) -> Run:
    def all_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(pixels), BATCH)
        return np.concatenate([run(pixels[start : start + BATCH]) for start in starts])

    return all_of


def eager_torch(module: nn.Module, onnx: Path) -> Run:
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return module(torch.from_numpy(pixels)).numpy()

    return in_batches(run)


def onnx_runtime(module: nn.Module, onnx: Path) -> Run:
    import onnxruntime

    _export(module, onnx)
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    return in_batches(lambda pixels: session.run(None, {"pixels": pixels})[0])


def plain_openvino(module: nn.Module, onnx: Path) -> Run:
    ov = import_openvino()

    _export(module, onnx)
    compiled = ov.Core().compile_model(str(onnx), "CPU")
    return in_batches(lambda pixels: np.array(compiled(pixels)[0]))


def openvino_for_throughput(module: nn.Module, onnx: Path) -> Run:
    ov = import_openvino()

    _export(module, onnx)
    model = ov.Core().read_model(str(onnx))
    size = model.input(0).get_partial_shape()[1].get_length()
    model.reshape([1, size, size, 3])
    compiled = ov.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = ov.AsyncInferQueue(compiled)
    shape = tuple(compiled.output(0).shape)[1:]

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        outputs = np.empty((len(pixels), *shape), np.float32)

        def keep(request: Any, number: int) -> None:
            outputs[number] = request.get_output_tensor(0).data[0]

        queue.set_callback(keep)
        for number in range(len(pixels)):
            queue.start_async({0: pixels[number : number + 1]}, number)
        queue.wait_all()
        return outputs

    return run


PEERS: dict[str, Callable[[nn.Module, Path], Run]] = {
    "PyTorch eager float32": eager_torch,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": plain_openvino,
    "OpenVINO for throughput": openvino_for_throughput,
}


def _export(module: nn.Module, file: Path) -> None:
    size = 128 if "vgg" in file.name else 224
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            file,
            dynamo=False,
            input_names=["pixels"],
            dynamic_axes={"pixels": {0: "number"}},
        )


def ours(name: str, size: int, features: str) -> Run:
    model = BackboneModel(backbone=name, weights="none", features=features)  # type: ignore[arg-type]
    preprocessing = Preprocessing(size, size, mean=(0.5,) * 3, std=(0.5,) * 3)
    return build_backbone_engine(model, preprocessing, device="cpu")


def warm_start(name: str, size: int, features: str) -> float:
    """Seconds of a new process from its start to 32 features, the converted network cached."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tellapart.pixels.preprocessing import Preprocessing\n"
        "from tellapart.engines.engine import check_images\n"
        "from tellapart.recipe import BackboneModel\n"
        "from tellapart.engines.features import build_backbone_engine\n"
        f"model = BackboneModel(backbone={name!r}, weights='none', features={features!r})\n"
        f"p = Preprocessing({size}, {size}, mean=(0.5,) * 3, std=(0.5,) * 3)\n"
        "run = build_backbone_engine(model, p, device='cpu')\n"
        f"run(check_images({size}, {size}, 1).repeat(32, axis=0))\n"
    )
    started = perf_counter()
    source = str(Path(__file__).resolve().parents[1] / "src")
    subprocess.run([sys.executable, "-c", code, source], check=True)
    return perf_counter() - started


def measure(name: str, size: int, features: str, seconds: float, folder: Path) -> dict[str, Any]:
    """One network through all engines, taking turns."""
    module = FromPixels(name, features).eval()
    pixels = np.concatenate([check_images(size, size, 16)] * 8)
    runs: dict[str, Run] = {}
    starts: dict[str, float] = {}
    for label, make in PEERS.items():
        started = perf_counter()
        runs[label] = make(module, folder / f"{name}-{len(runs)}.onnx")
        runs[label](pixels[:BATCH])
        starts[label] = perf_counter() - started
    started = perf_counter()
    runs["tellapart"] = ours(name, size, features)
    runs["tellapart"](pixels[:BATCH])
    starts["tellapart"] = perf_counter() - started
    reference = runs["PyTorch eager float32"](pixels[:BATCH])
    distance = np.linalg.norm(runs["tellapart"](pixels[:BATCH]) - reference)
    speeds: dict[str, list[float]] = {label: [] for label in runs}
    share = {label: _number_for(run, pixels, seconds) for label, run in runs.items()}
    for turn in range(TURNS):
        order = list(runs) if turn % 2 == 0 else list(runs)[::-1]
        for label in order:
            images = np.resize(pixels, (share[label], *pixels.shape[1:]))
            started = perf_counter()
            runs[label](images)
            speeds[label].append(len(images) / (perf_counter() - started))
    middle = {label: statistics.median(values) for label, values in speeds.items()}
    fastest = max(speed for label, speed in middle.items() if label != "tellapart")
    return {
        "network": name,
        "pixels": size,
        "features": features,
        "images_per_second": {label: round(v, 1) for label, v in middle.items()},
        "all_turns": {label: [round(v, 1) for v in values] for label, values in speeds.items()},
        "start_seconds": {label: round(v, 2) for label, v in starts.items()},
        "warm_process_seconds": round(warm_start(name, size, features), 2),
        "relative_difference_from_float32": float(distance / np.linalg.norm(reference)),
        "share_of_fastest_peer": round(middle["tellapart"] / fastest, 3),
    }


def _number_for(run: Run, pixels: NDArray[np.uint8], seconds: float) -> int:
    """How many images take about ``seconds``, in whole batches."""
    started = perf_counter()
    run(pixels[: 2 * BATCH])
    speed = 2 * BATCH / (perf_counter() - started)
    return max(1, round(speed * seconds / BATCH)) * BATCH


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one network instead of all three")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each engine's turn")
    default = Path(__file__).parent / "results" / "extraction.json"
    parser.add_argument("--json", type=Path, default=default)
    arguments = parser.parse_args()
    keep_memory()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TELLAPART_CACHE_DIR"] = f"{folder}/cache"
        for name, size, features in CASES:
            if arguments.only in (None, name):
                row = measure(name, size, features, arguments.seconds, Path(folder))
                results.append(row)
                print(json.dumps(row, indent=2), flush=True)
    machine = asdict(describe_machine("cpu"))
    content = {"pass_mark": PASS_MARK, "machine": machine, "results": results}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return int(any(row["share_of_fastest_peer"] < PASS_MARK for row in results))


if __name__ == "__main__":
    sys.exit(main())
