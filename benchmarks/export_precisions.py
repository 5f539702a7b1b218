"""What float32, bf16 and int8 say of a run's test images, from files to decisions, and their speed.

    python benchmarks/export_precisions.py RUN [--images 2000] [--keep FOLDER] [--json results.json]

Exports the run to ONNX and lets the export's own ``classify.py`` answer so many test images, evenly
over the test part. The same graph answers them in OpenVINO: in float32, bf16 and int8 (ranges from
300 training images, as ``tellapart export --int8`` takes them), what is not in int8 in float32 or
bf16. The reference is the run's network in float32, by eager PyTorch. Told are every image that is
answered otherwise, the largest difference of a probability, and accuracy against float32, and of
int8 against bf16, as paired differences with 95 % intervals.

Then the backbone alone, as features are extracted: the same images in each precision, in turn;
images for each second, and for each second of processor time, which other work on the machine
hardly moves; the median over rounds. What is done is kept in ``--keep``, and not done again.

Ends with 1 where a decision in float32 is not the run's: the pass mark.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.comparison.differences import SIGNIFICANCE, difference_of
from tellapart.engines.onnx import save_openvino, to_onnx
from tellapart.engines.openvino import OpenVinoEngine, import_openvino
from tellapart.engines.quantise import CALIBRATION_IMAGES
from tellapart.exporting.parity import (
    Answered,
    Reference,
    compared,
    reference_of,
    runner_answers,
    script_answers,
)
from tellapart.exporting.quantise import quantised_openvino
from tellapart.files import write_json
from tellapart.machine import keep_memory, num_cores, processor_name
from tellapart.pixels.decode import decode_many
from tellapart.prediction.bundle import open_openvino
from tellapart.progress import Progress, TerminalProgress
from tellapart.run import Run, open_run
from tellapart.verbs.export import export

SPEED_IMAGES, ROUNDS = 256, 15


def paired(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy of the first minus that of the other."""
    found = difference_of(right, other)
    return found.number(SIGNIFICANCE, found.p_value < SIGNIFICANCE).to_json()


def kept(file: Path, make: Callable[[], Answered]) -> Answered:
    """Probabilities and decisions in a file, made where it is not there."""
    if not file.is_file():
        probabilities, decided = make()
        np.savez(file, probabilities=probabilities, decisions=decided)
    found = np.load(file)
    return found["probabilities"], found["decisions"]


def decisions(run: Run, images: int, folder: Path, progress: Progress) -> dict[str, Any]:
    predictions = run.scored_predictions("test")
    rows = np.unique(np.linspace(0, len(predictions) - 1, min(images, len(predictions))).round())
    chosen = predictions.select(rows.astype(np.int64))
    files = [Path(run.info.data.root) / path for path in chosen.paths]
    classifier, bundle = run.classifier("cpu"), folder / "onnx"
    if not bundle.is_dir():
        export(run, bundle, check=20, progress=progress)
    quantised = folder / "int8.xml"
    if not quantised.is_file():
        model = import_openvino().Core().read_model(bundle / "model.onnx")
        job: Any = SimpleNamespace(calibration=lambda: calibration(run))
        save_openvino(quantised_openvino(model, job), quantised, 30_000_000)

    def by_openvino(file: Path, precision: str) -> Answered:
        return runner_answers(
            open_openvino(file, precision), files, lambda some: classifier.decoded(some)[0],
            progress,
        )  # fmt: skip

    def by_pytorch() -> Answered:
        found = reference_of(classifier, run.policy, files, progress)
        if len(found.files) != len(files):
            raise SystemExit("some test images cannot be read")
        return found.probabilities, found.decisions

    graph = bundle / "model.onnx"
    answers = {
        "openvino bf16": kept(folder / "bf16.npz", lambda: by_openvino(graph, "bf16")),
        "openvino int8": kept(folder / "int8.npz", lambda: by_openvino(quantised, "f32")),
        "openvino int8, rest bf16": kept(
            folder / "int8bf16.npz", lambda: by_openvino(quantised, "bf16")
        ),
        "openvino float32": kept(folder / "f32.npz", lambda: by_openvino(graph, "f32")),
        "onnx float32": kept(
            folder / "onnx.npz", lambda: script_answers(bundle / "classify.py", files, progress)
        ),
        "tellapart predict": (chosen.probabilities, chosen.predicted),
    }
    reference = Reference(tuple(files), *kept(folder / "pytorch.npz", by_pytorch))
    right = {name: said[1] == chosen.labels for name, said in answers.items()}
    in_float32 = reference.decisions == chosen.labels
    found: dict[str, Any] = {
        "images": len(files), "accuracy_float32": round(float(in_float32.mean()), 5),
        "classes": list(run.classes), "temperature": classifier.description.temperature,
        "bytes float32": graph.stat().st_size,
        "bytes int8": sum(f.stat().st_size for f in folder.glob("int8.*") if f.suffix != ".npz"),
    }  # fmt: skip
    for name, said in answers.items():
        parity = compared(reference, said, chosen.paths)
        found[name] = parity.to_json(run.classes) | {
            "accuracy_difference": paired(right[name], in_float32)
        }
        print(
            f"{name}: {parity.equal:,} of {parity.images:,} decisions as in float32, largest "
            f"difference {parity.largest_difference:.2g}, {found[name]['accuracy_difference']}"
        )
        for each in found[name]["differing"]:
            print("   ", each)
    for name in ("int8", "int8, rest bf16"):
        told = paired(right[f"openvino {name}"], right["openvino bf16"])
        found[f"{name} against bf16"] = told
        print(f"{name} against bf16: {told}")
    return found


def calibration(run: Run) -> list[NDArray[np.uint8]]:
    """Training images, drawn with the run's seed."""
    root = Path(run.info.data.root)
    training = [root / image.path for image in run.images if image.part == "train"]
    some = random.Random(run.info.seed).sample(training, CALIBRATION_IMAGES)
    pixels, _ = decode_many(some, run.classifier("cpu").preprocessing)
    return [pixels[i : i + 1] for i in range(len(pixels))]


def speeds(run: Run, folder: Path) -> dict[str, Any]:
    """Images a second of the backbone, as features are extracted."""
    import torch

    classifier = run.classifier("cpu")
    rule, network = classifier.preprocessing, classifier.network()
    backbone = torch.nn.Sequential(network.normalise, network.backbone).eval()
    content = to_onnx(backbone, rule.height, rule.width)
    (folder / "backbone.onnx").write_bytes(content)
    model = import_openvino().Core().read_model(folder / "backbone.onnx")
    save_openvino(model, folder / "backbone.xml", len(content))
    ranges = calibration(run)
    job: Any = SimpleNamespace(calibration=lambda: ranges)
    save_openvino(quantised_openvino(model, job), folder / "backbone8.xml", len(content))
    pixels = np.concatenate(ranges)
    images = pixels[np.arange(SPEED_IMAGES) % len(pixels)]
    engines = {
        "f32": OpenVinoEngine(folder / "backbone.xml", "f32", rule.height, rule.width),
        "bf16": OpenVinoEngine(folder / "backbone.xml", "bf16", rule.height, rule.width),
        "int8": OpenVinoEngine(folder / "backbone8.xml", "f32", rule.height, rule.width),
        "int8, rest bf16": OpenVinoEngine(
            folder / "backbone8.xml", "bf16", rule.height, rule.width
        ),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for turn in range(ROUNDS + 1):
        for name, engine in engines.items():
            wall, cpu = time.perf_counter(), time.process_time()
            engine(images)
            took = time.perf_counter() - wall, time.process_time() - cpu
            if turn:  # the first is a warm-up
                rates[name].append((len(images) / took[0], len(images) / took[1]))
    found: dict[str, Any] = {
        name: {
            "images_a_second": round(float(np.median([rate for rate, _ in each])), 1),
            "images_a_cpu_second": round(float(np.median([rate for _, rate in each])), 1),
        }
        for name, each in rates.items()
    }
    for name in ("int8", "int8, rest bf16"):
        ratios = [ours[1] / theirs[1] for ours, theirs in zip(rates[name], rates["bf16"],
                                                              strict=True)]  # fmt: skip
        low, middle, high = np.percentile(ratios, [5, 50, 95]).round(3).tolist()
        found[f"{name} / bf16, by cpu second"] = {"median": middle, "5 %": low, "95 %": high}
    print(json.dumps(found, indent=1))
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_memory()
    run = open_run(options.run)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        speed = folder / "speed.json"
        if not speed.is_file():
            write_json(speed, speeds(run, folder))
        quick = json.loads(speed.read_text("utf-8"))
        found = decisions(run, options.images, folder, TerminalProgress())
    found = {"machine": f"{num_cores()} cores of {processor_name()}", "speed": quick, **found}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    equal = all(found[f"{to} float32"]["equal_decisions"] == found["images"]
                for to in ("onnx", "openvino"))  # fmt: skip
    print("passed" if equal else "FAILED")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
