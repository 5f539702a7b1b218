"""``tellapart export``: a run as a folder that other programs use."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tellapart
from tellapart.comparison.differences import SIGNIFICANCE, difference_of
from tellapart.data.given import Given, files_of
from tellapart.engines.quantise import CALIBRATION_IMAGES
from tellapart.errors import BundleError, FileError
from tellapart.evaluation.decision import decided
from tellapart.evaluation.image_groups import image_groups
from tellapart.exporting.card import CardFacts, card
from tellapart.exporting.formats import Format, format_named
from tellapart.exporting.graph import Around, answers_of
from tellapart.exporting.job import Job
from tellapart.exporting.joint_module import networks_in
from tellapart.exporting.parity import (
    Answered,
    Parity,
    Reference,
    compared,
    reference_of,
    require_parity,
    runner_answers,
    script_answers,
    speeds,
)
from tellapart.exporting.script import RUNTIMES, alike, script
from tellapart.extras import pytorch_is_here
from tellapart.files import write_json, write_text
from tellapart.folders import content_of, reason_of, renamed_into_place
from tellapart.machine import keep_memory, num_cores, processor_name
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.pixels.views import TEST_TIME_VIEWS
from tellapart.prediction.bundle import (
    ABOUT,
    FORMAT,
    RUNNERS,
    BundleInfo,
    Inputs,
    as_input,
    open_openvino,
)
from tellapart.prediction.classifier import Description
from tellapart.prediction.joint import JointClassifier
from tellapart.prediction.stored import AnyClassifier
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, ShortRepr, card_of
from tellapart.run import Run, RunGiven, open_run
from tellapart.run_info import FileDigest
from tellapart.wording import listed, percent, shown

#: Test images that an export is checked on, where nobody says how many.
CHECKED_IMAGES = 500
_SPEED_IMAGES = 64


@dataclass(frozen=True, repr=False)
class Exported(ShortRepr):
    """The folder that was made, and what its check found."""

    folder: Path
    info: BundleInfo = field(repr=False)
    sentences: tuple[str, ...] = ()
    exit_code: int = DONE

    def lines(self) -> Iterator[str]:
        """What the command prints; the last line is the folder."""
        yield from self.sentences
        yield f"model, classify.py, README.md and {ABOUT} are in"
        yield shown(self.folder)

    def to_json(self) -> Mapping[str, Any]:
        """Where it is, and all that ``model.json`` says."""
        return {"folder": str(self.folder), **asdict(self.info)}

    def _repr_html_(self) -> str:
        return card_of(f"Export of {self.info.name}", self.lines())


def export(
    run: RunGiven,
    out: str | Path,
    *,
    to: str = "onnx",
    int8: bool = False,
    float_input: bool = False,
    images: Given = (),
    check: int = CHECKED_IMAGES,
    progress: Progress = DEFAULT,
) -> Exported:
    """Write a run's model into a folder of its own, and check it from file to decision.

    Args:
        run: the run, or its folder.
        out: the folder to make; it must not exist, or be empty.
        to: a name of ``exporting.formats.FORMATS``.
        int8: quantise to 8 bits, with ranges taken from training images.
        float_input: the model takes normalised float32 (N, 3, H, W) instead of uint8
            (N, H, W, 3).
        images: pictures to check and calibrate with; none: the run's own, test images to check
            and training images to calibrate.
        check: how many images are compared, evenly over all; all if there are fewer.

    Raises:
        BundleError: the run cannot be exported so, or the exported model is not the run's;
            nothing is left.
        RunError: the run cannot be used.
        DataError: a path of ``images`` does not exist.
    """
    opened = open_run(run)
    classifier = opened.classifier("cpu")
    is_int8 = not isinstance(classifier, JointClassifier) and classifier.int8_network is not None
    if is_int8:
        _require_what_int8_takes(opened, to, int8=int8, float_input=float_input)
    plain = is_int8 or (
        not isinstance(classifier, JointClassifier)
        and not pytorch_is_here()
        and classifier.plain_network() is not None
    )
    row = format_named(to, int8=int8, float_input=float_input, plain=plain)
    _require_one_way_of_fitting(opened, float_input=float_input)
    wanted = Path(out)
    _require_free(wanted)
    if check < 1:
        raise BundleError(f"--check {check}: compare at least one image.")
    _require_rules_that_fit(opened)
    keep_memory()
    sample = _sample(opened, images, check, progress)
    try:
        kinds = {"int8": int8, "is_int8": is_int8, "float_input": float_input}
        return _Export(opened, row, sample, progress, **kinds).into(wanted)
    except (OSError, FileError) as error:
        raise BundleError(
            f"{shown(wanted)} cannot be written: {reason_of(error)}; free some space, or choose "
            "another place."
        ) from error


def _require_rules_that_fit(run: Run) -> None:
    """A model answers with one class or "uncertain"; what goes beyond is not left out silently."""
    beyond = [
        *(["sets of classes"] if run.policy.sets is not None else []),
        *(["'unknown'"] if run.policy.unknown else []),
    ]
    if beyond:
        raise BundleError(
            f"{shown(run.path)} answers with {listed(beyond, last='and')}, which an exported model "
            "cannot; decide again without it (tellapart decide --help), then export."
        )


def _require_what_int8_takes(run: Run, to: str, *, int8: bool, float_input: bool) -> None:
    """Before any work: a backbone in int8 is written as it is.

    Raises:
        BundleError: it is asked for in another way.
    """
    told = f"The backbone of {shown(run.path)} is in int8 (probe.precision)"
    if int8:
        raise BundleError(f"{told} already, so --int8 has no effect; leave it out.")
    if float_input:
        raise BundleError(
            f"{told}, which takes pixels as they are, so that --float does not go with it; leave "
            "it out."
        )
    if to in ("torch", "timm"):
        raise BundleError(f"{told}, which goes with --to onnx and openvino, not with --to {to}.")


def _require_one_way_of_fitting(run: Run, *, float_input: bool) -> None:
    """Before any work: what several networks look at must be within what a bundle can say."""
    classifier = run.classifier("cpu")
    if not isinstance(classifier, JointClassifier):
        return
    if float_input:
        raise BundleError(
            f"In {shown(run.path)} several networks answer together, each with a normalisation of "
            "its own, so that --float does not go with it; leave it out."
        )
    rules = classifier.description.preprocessings
    if not alike(rules):
        ways = [f"{rule.fit}, {rule.interpolation}" for rule in rules]
        raise BundleError(
            f"In {shown(run.path)} several networks answer together, whose pictures are fitted to "
            f"their sizes in different ways ({'; '.join(dict.fromkeys(ways))}), which an export "
            "cannot; train it with one data.fit and no 'nearest' among others."
        )


# --- which images ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sample:
    """Images that the export is checked on, and those that calibrate it."""

    files: tuple[Path, ...]
    names: tuple[str, ...]
    #: int64 (N,), -1 where the truth is not known; and which images belong together.
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    what: str
    calibration: tuple[Path, ...]


def _sample(run: Run, given: Given, check: int, progress: Progress) -> _Sample:
    files = files_of(given, progress)
    if files:
        chosen = tuple(files[i] for i in _evenly(len(files), check))
        unknown = np.full(len(chosen), -1, np.int64)
        return _Sample(chosen, tuple(map(str, chosen)), unknown, None, "given images", tuple(files))
    part = next((part for part in ("test", "validation") if part in run.parts), "")
    if not part:
        raise BundleError(
            f"{run.path} has no test or validation images, so the export cannot be checked; give "
            "pictures with --images FOLDER."
        )
    root = Path(run.info.data.root)
    predictions = run.scored_predictions(part)
    there = np.flatnonzero([(root / path).is_file() for path in predictions.paths])
    if not len(there):
        raise BundleError(
            f"The {part} images of {run.path} are not below {shown(root)} any more, so the export "
            "cannot be checked; put them back, or give pictures with --images FOLDER."
        )
    chosen_rows = there[_evenly(len(there), check)]
    chosen_predictions = predictions.select(chosen_rows)
    training = [root / image.path for image in run.images if image.part == "train"]
    training = [file for file in training if file.is_file()]
    return _Sample(
        tuple(root / path for path in chosen_predictions.paths),
        chosen_predictions.paths,
        chosen_predictions.labels,
        chosen_predictions.groups,
        f"{part} images",
        tuple(training),
    )


def _evenly(number: int, wanted: int) -> NDArray[np.int64]:
    """So many of a number of rows, evenly over them: tables are in the order of their classes."""
    return np.unique(np.linspace(0, number - 1, min(number, wanted)).round().astype(np.int64))


def _require_free(folder: Path) -> None:
    if folder.is_file():
        raise BundleError(f"{shown(folder)} is a file; give another folder.")
    if folder.is_dir() and content_of(folder):
        raise BundleError(
            f"{shown(folder)} exists and is not empty; give another folder, or empty it."
        )


# --- making it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Export:
    run: Run
    row: Format
    sample: _Sample
    progress: Progress
    #: Quantise it; and whether the run's own backbone is in int8.
    int8: bool
    is_int8: bool
    float_input: bool

    @property
    def precision(self) -> str:
        """Of the model that is written."""
        return "int8" if self.int8 or self.is_int8 else "float32"

    def into(self, wanted: Path) -> Exported:
        made: list[tuple[BundleInfo, tuple[str, ...]]] = []

        def fill(folder: Path) -> None:
            made.append(self._fill(folder))

        folder = renamed_into_place(wanted, fill, lambda path: path)
        info, sentences = made[-1]
        return Exported(folder, info, sentences)

    def _fill(self, folder: Path) -> tuple[BundleInfo, tuple[str, ...]]:
        job = self._job()
        reference = reference_of(job.classifier, self.run.policy, self.sample.files, self.progress)
        with self.progress.stage(f"Writing {self.row.title}", None):
            self.row.write(job, folder)
        write_text(
            folder / "classify.py",
            script(self.row.name, self.row.file, answers_of(job.around),
                   _inputs_of(job.classifier),
                   float_input=self.float_input or self.row.normalised),
        )  # fmt: skip
        answered = script_answers(folder / "classify.py", reference.files, self.progress)
        names = self._names(reference)
        parity = compared(reference, answered, names)
        otherwise = (
            "train it with probe.precision=auto" if self.is_int8 else "export it without --int8"
        )
        require_parity(
            parity, answered, job.around.classes, self.run.policy,
            int8=self.precision == "int8", otherwise=otherwise,
        )  # fmt: skip
        measured, sentences = self._measured(folder, job, reference, answered, parity)
        info = replace(self._info(job), measured=measured)
        package = " ".join(RUNTIMES[self.row.name].packages)
        write_text(folder / "README.md", card(self._card_facts(info, sentences, package)))
        files = {file.name: FileDigest.of(file.read_bytes()) for file in sorted(folder.iterdir())}
        info = replace(info, files=files)
        write_json(folder / ABOUT, asdict(info))
        return info, sentences

    def _job(self) -> Job:
        classifier = self.run.classifier("cpu")
        description, (rule, *more) = classifier.description, _inputs_of(classifier)
        policy = self.run.policy
        # Those of several networks are inside, around each of them.
        views = description.test_time if isinstance(description, Description) else "none"
        around = Around(
            views=TEST_TIME_VIEWS[views],
            temperature=description.temperature,
            classes=classifier.classes,
            sigmoid=description.single_output,
            decision=policy.decision,
            uncertain_up_to=policy.abstention.above if policy.abstention is not None else None,
            height=rule.height,
            width=rule.width,
            more_sizes=tuple((other.height, other.width) for other in more),
            float_input=self.float_input,
        )
        around = replace(around, metadata=_metadata(self.run, around, (rule, *more)))
        return Job(self.run.name, classifier, around, self.int8, self._calibration)

    def _calibration(self) -> list[Inputs]:
        """Training images as the model takes them, drawn with the run's seed."""
        files = list(self.sample.calibration)
        if not files:
            raise BundleError(
                "There are no training images to calibrate int8 with; put them back, or give "
                "pictures with --images FOLDER."
            )
        chosen = random.Random(self.run.info.seed).sample(
            files, min(CALIBRATION_IMAGES, len(files))
        )
        prepared = self._decode(chosen)
        return [prepared[i : i + 1] for i in range(len(prepared))]

    def _decode(self, files: Sequence[Path]) -> Inputs:
        """Files as the model takes them."""
        classifier = self.run.classifier("cpu")
        pixels, _ = classifier.decoded(files)
        return as_input(pixels, classifier.preprocessing, float_input=self.float_input)

    def _names(self, reference: Reference) -> tuple[str, ...]:
        named = dict(zip(self.sample.files, self.sample.names, strict=True))
        return tuple(named[file] for file in reference.files)

    def _info(self, job: Job) -> BundleInfo:
        policy = self.run.policy
        first, *more = _inputs_of(job.classifier)
        return BundleInfo(
            format=FORMAT,
            tellapart=tellapart.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            name=self.run.name,
            runtime=self.row.name,
            model=self.row.file,
            precision={"int8": "int8", "float32": "f32"}[self.precision],
            classes=job.around.classes,
            answers=answers_of(job.around),
            preprocessing=first.to_dict(),
            float_input=self.float_input,
            test_time=_views_of(job.classifier),
            temperature=job.around.temperature,
            decision=policy.decision.to_dict() if policy.decision is not None else None,
            abstention=policy.abstention.to_dict() if policy.abstention is not None else None,
            model_digest=job.classifier.digest,
            more_inputs=tuple(rule.to_dict() for rule in more),
        )

    # --- measuring --------------------------------------------------------------------------

    def _measured(
        self, folder: Path, job: Job, reference: Reference, answered: Answered, parity: Parity
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What the check found, and how large and quick the model is; and sentences on it."""
        answers = answers_of(job.around)
        size = sum(f.stat().st_size for f in folder.iterdir() if f.name.startswith("model."))
        precision = self.precision
        measured: dict[str, Any] = {
            "machine": f"{num_cores()} cores of {processor_name()}",
            "images": self.sample.what,
            "size_bytes": size,
            precision: parity.to_json(answers) | self._accuracy_cost(reference, answered),
        }
        sentences = [self._parity_sentence(precision, parity)]
        if precision == "int8":
            sentences += self._cost_sentence(precision, measured[precision])
        runners = {}
        if self.row.name in RUNNERS:
            runners[precision] = RUNNERS[self.row.name].open(folder / self.row.file)
        if self.row.name == "openvino" and precision == "float32" and _has_bf16():
            runners["bf16"] = open_openvino(folder / self.row.file, "bf16")
            in_bf16 = runner_answers(runners["bf16"], reference.files, self._decode, self.progress)
            found = compared(reference, in_bf16, self._names(reference))
            measured["bf16"] = found.to_json(answers) | self._accuracy_cost(reference, in_bf16)
            sentences.append(self._parity_sentence("bf16", found))
            sentences += self._cost_sentence("bf16", measured["bf16"])
        if runners:
            quick = speeds(runners, self._decode(reference.files[:_SPEED_IMAGES]))
            measured["images_per_second"] = quick
            told = " and ".join(f"{value:,.0f} in {name}" for name, value in quick.items())
            sentences.append(f"images a second here, without decoding: {told}")
        sentences.append(f"size: {size / 1e6:,.1f} MB")
        return measured, tuple(sentences)

    def _accuracy_cost(self, reference: Reference, answered: Answered) -> dict[str, Any]:
        """Accuracy of the export minus that of the run, paired, where the labels are known.

        Of the classes that are chosen: what is "uncertain" counts as the class that it would be.
        """
        row = {file: i for i, file in enumerate(self.sample.files)}
        rows = np.array([row[file] for file in reference.files])
        labels = self.sample.labels[rows]
        if (labels < 0).any():
            return {}
        groups = self.sample.groups
        right, run_right = (
            decided(probabilities, self.run.classes, self.run.decision) == labels
            for probabilities in (answered[0], reference.probabilities)
        )
        found = difference_of(
            right,
            run_right,
            image_groups(None if groups is None else groups[rows]),
        )
        number = found.number(SIGNIFICANCE, found.p_value < SIGNIFICANCE)
        return {"accuracy_difference": number.to_json()}

    def _parity_sentence(self, precision: str, parity: Parity) -> str:
        return (
            f"{precision}: {parity.equal:,} of {parity.images:,} decisions on "
            f"{self.sample.what} are the run's ({percent(parity.share, 2)}); the largest "
            f"difference of a probability is {parity.largest_difference:.2g}"
        )

    def _cost_sentence(self, precision: str, found: Mapping[str, Any]) -> list[str]:
        cost = found.get("accuracy_difference")
        if cost is None:
            return []
        points, low, high = (100 * cost[key] for key in ("value", "low", "high"))
        against = "the run" if self.is_int8 else "float32"
        return [
            f"{precision}: accuracy {points:+.2f} points against {against} (95 %: {low:+.2f} to "
            f"{high:+.2f})"
        ]

    def _card_facts(self, info: BundleInfo, sentences: Sequence[str], package: str) -> CardFacts:
        part = next((part for part in ("test", "validation") if part in self.run.metrics), "")
        stored = self.run.info
        return CardFacts(
            name=info.name,
            data=self.run.source.display_name,
            library=self.row.library,
            format=f"{self.row.title}, {self.precision}",
            classes=info.classes,
            answers=info.answers,
            rules=self.run.policy.rules,
            counts=stored.data.counts,
            metrics=self.run.metrics.get(part, {}),
            part=part,
            recipe=self.run.recipe.name,
            version=stored.tellapart,
            created=stored.created,
            preprocessing=info.preprocessing,
            more_inputs=info.more_inputs,
            float_input=info.float_input,
            test_time=info.test_time,
            weights=stored.weights,
            checked=tuple(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences),
            package=package,
        )


def _inputs_of(classifier: AnyClassifier) -> tuple[Preprocessing, ...]:
    """How pictures come to each of the model's inputs."""
    return classifier.description.preprocessings


def _views_of(classifier: AnyClassifier) -> str:
    """The views that the model averages; of several networks, of each where they differ."""
    names = [network.description.test_time for network in networks_in(classifier)]
    return names[0] if len(set(names)) == 1 else " + ".join(names)


def _metadata(run: Run, around: Around, inputs: Sequence[Preprocessing]) -> dict[str, str]:
    """What the model's file itself says, each value as JSON."""
    import json

    policy = run.policy
    facts = {
        "classes": list(around.classes),
        "answers": list(answers_of(around)),
        "preprocessing": inputs[0].to_dict(),
        "float_input": around.float_input,
        "decision": policy.decision.to_dict() if policy.decision is not None else None,
        "abstention": policy.abstention.to_dict() if policy.abstention is not None else None,
        "tellapart": tellapart.__version__,
    }
    if len(inputs) > 1:
        facts["more_inputs"] = [rule.to_dict() for rule in inputs[1:]]
    return {key: json.dumps(value) for key, value in facts.items()}


def _has_bf16() -> bool:
    from tellapart.engines.openvino import precisions_here

    return "bf16" in precisions_here()
