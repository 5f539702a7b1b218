"""Does an exported model say what the run says? Checked from file to decision.

The bundle's own script reads the files and runs the model; the run's network answers the same
files in float32, as eager PyTorch computes it; where that is not installed, as the quickest engine
computes it in float32 that agrees with NumPy. What differs is counted and named, not hidden.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.engines.engine import Engine
from tellapart.errors import BundleError
from tellapart.evaluation.decision import decided
from tellapart.evaluation.policy import Policy
from tellapart.extras import pytorch_is_here
from tellapart.pixels.sets import PixelSets
from tellapart.pixels.views import TEST_TIME_VIEWS, view_images
from tellapart.prediction.answering import to_probabilities
from tellapart.prediction.bundle import Inputs, Runner
from tellapart.prediction.joint import JointClassifier, joined_logits
from tellapart.prediction.stored import AnyClassifier
from tellapart.progress import SILENT, Progress
from tellapart.wording import listed, percent, plural

#: A float32 model whose probabilities are further from the run's than this is not the run's
#: model: two float32 runtimes differ by 0.000001 to 0.00002.
LARGEST_FLOAT32 = 1e-3
#: A quantised model that gives fewer of the run's decisions than this is of no use to anybody.
LEAST_EQUAL_INT8 = 0.8
#: Images decoded at a time, and images of one call when speed is measured.
_BLOCK, _SPEED_BATCH = 64, 8


@dataclass(frozen=True)
class Reference:
    """What the run says of the images, in float32.

    Attributes:
        files: N of them.
        probabilities: float64 (N, C).
        decisions: int64 (N,), of the answers, as :func:`said` counts them.
    """

    files: tuple[Path, ...]
    probabilities: NDArray[np.float64]
    decisions: NDArray[np.int64]


def said(
    probabilities: NDArray[np.float64], classes: Sequence[str], policy: Policy
) -> NDArray[np.int64]:
    """What a policy answers, int64 (N,): which class, or behind the classes "uncertain".

    As :func:`tellapart.exporting.graph.answers_of` counts.
    """
    chosen = decided(probabilities, classes, policy.decision)
    if policy.abstention is None:
        return chosen
    answered = policy.abstention.answers(probabilities[np.arange(len(chosen)), chosen])
    return np.where(answered, chosen, len(classes))


@dataclass(frozen=True)
class Parity:
    """How far two sets of answers are apart.

    Attributes:
        images: compared.
        largest_difference: of any probability.
        equal: images with the same decision.
        differing: of the other images, which file, and the two decisions.
    """

    images: int
    largest_difference: float
    equal: int
    differing: tuple[tuple[str, int, int], ...]

    @property
    def share(self) -> float:
        """Of equal decisions."""
        return self.equal / self.images

    def to_json(self, answers: Sequence[str]) -> dict[str, Any]:
        """As ``model.json`` has it."""
        return {
            "images": self.images,
            "largest_difference": self.largest_difference,
            "equal_decisions": self.equal,
            "share_of_equal_decisions": self.share,
            "differing": [
                {"path": name, "run": answers[ours], "exported": answers[theirs]}
                for name, ours, theirs in self.differing
            ],
        }


def reference_of(
    classifier: AnyClassifier,
    policy: Policy,
    files: Sequence[Path],
    progress: Progress = SILENT,
) -> Reference:
    """What the run's network says of files, in float32 (or int8, where it is run so).

    Files that cannot be read are left out.

    Raises:
        BundleError: none of them can be read.
    """
    kept: list[Path] = []
    rows: list[NDArray[np.float64]] = []
    logits = _float32_logits(classifier)
    with progress.stage("Answers of the run", len(files), "images") as stage:
        for start in range(0, len(files), _BLOCK):
            block = files[start : start + _BLOCK]
            pixels, reasons = classifier.decoded(block)
            kept += [file for file, reason in zip(block, reasons, strict=True) if not reason]
            if len(pixels):
                rows.append(to_probabilities(logits(pixels), classifier.description))
            stage.advance(len(block))
    if not kept:
        raise BundleError(
            f"None of {plural(len(files), 'image')} to check the export with can be read; give "
            "pictures with --images FOLDER."
        )
    probabilities = np.concatenate(rows)
    return Reference(tuple(kept), probabilities, said(probabilities, classifier.classes, policy))


def _float32_logits(classifier: AnyClassifier) -> Callable[[Any], NDArray[np.float32]]:
    """Logits of prepared images in float32; of several networks each by itself."""
    if isinstance(classifier, JointClassifier):
        return _joint_float32_logits(classifier)
    if classifier.int8_network is not None:
        return classifier.block_of_logits
    rule = classifier.preprocessing
    engine: Engine
    if pytorch_is_here():
        from tellapart.engines.pytorch import TorchEngine

        engine = TorchEngine(classifier.network(), "cpu", rule.height, rule.width, "f32")
    else:
        engine = classifier.exact_engine()
    views = TEST_TIME_VIEWS[classifier.description.test_time]

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        each = [engine(view) for view in view_images(pixels, views)]
        return np.asarray(np.mean(each, axis=0, dtype=np.float32))

    return logits


def _joint_float32_logits(classifier: JointClassifier) -> Callable[[Any], NDArray[np.float32]]:
    description = classifier.description
    members = [
        (_float32_logits(member), isinstance(member, JointClassifier), ways)
        for member, ways in zip(classifier.members, description.ways_of_members, strict=True)
    ]

    def logits(pixels: PixelSets) -> NDArray[np.float32]:
        each = []
        for member, several, ways in members:
            arrays = tuple(pixels.arrays[way] for way in ways)
            each.append(member(PixelSets(arrays) if several else arrays[0]))
        return joined_logits(each, description)

    return logits


Answered = tuple[NDArray[np.float64], NDArray[np.int64]]


def script_answers(file: Path, files: Sequence[Path], progress: Progress = SILENT) -> Answered:
    """What a bundle's classify.py says of files: probabilities (N, C) and decisions (N,).

    Raises:
        BundleError: it does not run, or cannot read a file that the run can.
    """
    if (file.parent / "model.xml").is_file():
        from tellapart.engines.openvino import import_openvino

        import_openvino()  # so that importing it sends nothing anywhere
    try:
        classify = _functions_of(file).classify
    except Exception as error:  # whatever a runtime makes of a model
        raise BundleError(f"The exported model cannot be opened ({_reason(error)}).") from error
    rows, decisions = [], []
    with progress.stage("Answers of the export", len(files), "images") as stage:
        for picture in files:
            try:
                probabilities, decision, _ = classify(picture)
            except Exception as error:
                raise BundleError(
                    f"The exported model fails on {picture} ({_reason(error)})."
                ) from error
            rows.append(np.asarray(probabilities, np.float64)[0])
            decisions.append(int(decision[0]))
            stage.advance(1)
    return np.stack(rows), np.array(decisions, np.int64)


def runner_answers(
    runner: Runner,
    files: Sequence[Path],
    decode: Callable[[Sequence[Path]], Inputs],
    progress: Progress = SILENT,
) -> Answered:
    """What a model says of files, several at a time.

    Args:
        decode: makes of files what the model takes.
    """
    rows, decisions = [], []
    with progress.stage("Answers of the export", len(files), "images") as stage:
        for start in range(0, len(files), _SPEED_BATCH):
            pixels = decode(files[start : start + _SPEED_BATCH])
            probabilities, decision, _ = runner(pixels)
            rows.append(np.asarray(probabilities, np.float64))
            decisions.append(np.asarray(decision, np.int64))
            stage.advance(len(pixels))
    return np.concatenate(rows), np.concatenate(decisions)


def compared(reference: Reference, answered: Answered, names: Sequence[str]) -> Parity:
    """How far answers are from the run's; ``names`` are what the files are called."""
    probabilities, decisions = answered
    differ = np.flatnonzero(decisions != reference.decisions)
    difference = np.abs(probabilities - reference.probabilities).max(initial=0.0)
    return Parity(
        images=len(decisions),
        largest_difference=float(difference) if np.isfinite(difference) else float("inf"),
        equal=len(decisions) - len(differ),
        differing=tuple(
            (names[i], int(reference.decisions[i]), int(decisions[i])) for i in differ.tolist()
        ),
    )


def require_parity(
    parity: Parity,
    answered: Answered,
    classes: Sequence[str],
    policy: Policy,
    *,
    int8: bool,
    otherwise: str = "export it without --int8",
) -> None:
    """A model that is not the run's is refused.

    Args:
        otherwise: what to do where int8 is of no use.

    Raises:
        BundleError: in float32 a probability is off by more than :data:`LARGEST_FLOAT32`, or a
            decision is not what the rule makes of the probabilities; in int8 too many
            decisions differ.
    """
    if int8:
        if parity.share < LEAST_EQUAL_INT8:
            raise BundleError(
                f"In int8 only {percent(parity.share)} of {plural(parity.images, 'decision')} "
                f"are the run's, so nothing was written; {otherwise}."
            )
        return
    if parity.largest_difference > LARGEST_FLOAT32:
        raise BundleError(
            f"The exported model is not the run's: a probability differs by "
            f"{parity.largest_difference:.2g}, and {parity.images - parity.equal:,} of "
            f"{plural(parity.images, 'decision')} differ; nothing was written."
        )
    probabilities, decisions = answered
    # Beside a threshold the last bit may decide; but then it decides for the export's own numbers.
    own = said(probabilities, classes, policy)
    wrong = [name for name, _, theirs in parity.differing] if (own != decisions).any() else []
    if wrong:
        raise BundleError(
            f"The exported decision rule is not the run's: it decides otherwise on {listed(wrong)};"
            " nothing was written."
        )


def speeds(
    runners: Mapping[str, Runner], images: Inputs, *, seconds: float = 1.0
) -> dict[str, float]:
    """Images a second of models on the same images, in turn, the median of at least 3 rounds."""
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner(images[:_SPEED_BATCH])
    started = perf_counter()
    for done in count():
        if done >= 3 and (done >= 50 or perf_counter() - started >= seconds * len(runners)):
            break
        for name, runner in runners.items():
            begun = perf_counter()
            for start in range(0, len(images), _SPEED_BATCH):
                runner(images[start : start + _SPEED_BATCH])
            rates[name].append(len(images) / (perf_counter() - begun))
    return {name: float(np.median(found)) for name, found in rates.items()}


def _functions_of(file: Path) -> Any:
    """The module that a script is, whatever else is called so; nothing is left in the folder."""
    spec = importlib.util.spec_from_file_location(f"tellapart_exported_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(str(file))
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]
