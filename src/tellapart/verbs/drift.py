"""``tellapart drift``: do these images still look like those that a run was trained for?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import bytes_digest
from tellapart.data.given import Given, count_files, each_file
from tellapart.errors import DataError, RunError, TellapartError
from tellapart.evaluation.unknown import UnknownDetector, load_unknown
from tellapart.files import write_csv, write_json
from tellapart.folders import page_in, write_folder
from tellapart.machine import keep_memory
from tellapart.monitoring.compare import Compared, compare
from tellapart.monitoring.known import MOST_KNOWN, KnownImages, load_known
from tellapart.monitoring.words import headline, sentences
from tellapart.prediction.answers import Answer
from tellapart.prediction.predictor import Predictor
from tellapart.prediction.stored import AnyClassifier
from tellapart.progress import DEFAULT, Progress
from tellapart.report.of_explanation import file_part
from tellapart.result import DONE, DRIFTED, TOO_FEW, ShortRepr, card_of
from tellapart.run import Run, RunGiven, open_run
from tellapart.training.remember import SEEN_PARTS
from tellapart.wording import listed, plural, shown

#: Images that are looked at, a random choice of more.
MOST_IMAGES = 10_000
#: Odd images that the command names; the table beside the page has all.
_NAMED = 5


@dataclass(frozen=True, repr=False)
class Drift(ShortRepr):
    """Whether images look like those that a run was trained for, and which do not."""

    run: Path
    #: What was found out.
    compared: Compared
    #: Of each image that was compared, in the order of ``compared.oddness``.
    answers: tuple[Answer, ...]
    #: The page about it.
    report: Path
    #: Files that could not be read, and why.
    problems: tuple[tuple[str, str], ...] = ()
    #: What was left out of the comparison, in sentences.
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """One of "alike", "drifted" and "too few"."""
        return self.compared.outcome

    @property
    def exit_code(self) -> int:
        """:data:`DRIFTED` or :data:`TOO_FEW`; unreadable files change nothing about that."""
        return {"alike": DONE, "drifted": DRIFTED, "too few": TOO_FEW}[self.outcome]

    @property
    def culprits(self) -> tuple[Answer, ...]:
        """Images that hardly any validation image is as odd as, the oddest first."""
        return tuple(
            self.answers[row] for row in self.compared.odd_first if self.compared.oddness[row] > 1
        )

    def lines(self) -> Iterator[str]:
        """What the command prints; the last line is the page."""
        yield headline(self.compared)
        for sentence in sentences(self.compared):
            yield f"  {sentence}"
        culprits = self.culprits
        if culprits:
            yield f"oddest  {plural(len(culprits), 'image')} beyond 95 % of the validation images"
            for answer in culprits[:_NAMED]:
                yield f"  {shown(answer.path)}"
        for note in self.notes:
            yield f"note    {note}"
        for path, reason in self.problems[:_NAMED]:
            yield f"cannot be read  {shown(path)}: {shown(reason)}"
        if len(self.problems) > _NAMED:
            yield f"cannot be read  {len(self.problems) - _NAMED:,} more"
        yield f"report  {shown(self.report)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "report": str(self.report),
            **self.compared.to_json(),
            "sentences": [headline(self.compared), *sentences(self.compared)],
            "culprits": [answer.path for answer in self.culprits],
            "not_read": [{"path": path, "error": reason} for path, reason in self.problems],
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        return card_of(f"Drift: {self.run.name}", self.lines())


def drift(
    run: RunGiven,
    images: Given,
    *,
    out: str | Path | None = None,
    device: str = "auto",
    progress: Progress = DEFAULT,
) -> Drift:
    """Hold images against those that a run was trained for: do they still look alike?

    They are compared with the run's validation images, as the network sees both: how far each is
    from the training images, how they look as a whole, and how frequent each class is. Images need
    no labels. What the run was made with, and copies of one another, are left out. Of very many
    images a random choice is looked at.

    Args:
        run: a run, or its folder.
        images: folders and files; ``-`` for a list of them on standard input.
        out: the page, or its folder; numbers and a table of the images go beside it. None: a
            folder in ``RUN/drift``, which replaces that of the same images.

    Raises:
        RunError: the run cannot be used, or kept too little to compare with; ``out`` cannot be
            written.
        DataError: a path does not exist, or no image is left to compare.
    """
    opened = open_run(run)
    keep_memory()
    detector = _detector(opened)
    predictor = replace(opened.predictor(device), detector=detector)
    known = _known_of(opened, predictor, detector, progress)
    given = [images] if isinstance(images, str | Path) else list(images)
    if not given:
        raise DataError("Nothing was given to compare; name a folder of images.")
    files, notes = _chosen(given, progress)
    files, left_out = _new_ones(files, opened)
    notes += left_out
    answers, features, probabilities, problems = _looked_at(predictor, files, progress)
    if not answers:
        raise DataError(_nothing_left(given, problems, left_out))
    with progress.stage("Comparing", len(answers), "images"):
        compared = compare(features, probabilities, detector, known, opened.classes)
    found = Drift(opened.path, compared, tuple(answers), Path(), tuple(problems), tuple(notes))
    if out is not None:
        page = page_in(Path(out))
        _write(opened, page, page.with_suffix(".json"), page.with_suffix(".csv"), found, given)
        return replace(found, report=page)
    folder = write_folder(
        opened.path / "drift" / _name(given),
        {"images": [str(Path(path).absolute()) for path in given]},
        lambda folder: _write(
            opened,
            folder / "report.html",
            folder / "drift.json",
            folder / "images.csv",
            found,
            given,
        ),
    )
    return replace(found, report=folder / "report.html")


def _detector(run: Run) -> UnknownDetector:
    """What knows the training images."""
    if not run.intact(run.unknown_file).is_file():
        raise RunError(
            f"{run.path} cannot say whether images have drifted: it kept nothing of its training "
            "images, as runs with fewer than 19 validation images do; train with more images."
        )
    return load_unknown(run.unknown_file)


def _known_of(
    run: Run, predictor: Predictor, detector: UnknownDetector, progress: Progress
) -> KnownImages:
    """What the run keeps of its validation images; of an older run, from the images themselves."""
    if run.intact(run.known_file).is_file():
        known = load_known(run.known_file)
        if len(known.trained) != len(detector.reference):
            raise RunError(
                f"{run.known_file} is damaged: it does not go with {run.unknown_file.name}; train "
                "again."
            )
        return known
    older = f"{run.path} is of an older version and kept nothing of its validation images"
    validation = {image.path: image.digest for image in run.images if image.part == "validation"}
    if not validation or run.info.cross_validation is not None:
        raise RunError(f"{older}; train again to compare other images with them.")
    source = run.source
    try:
        table = source.read(progress)
        images = source.pixels(table, predictor.preprocessing, group=False, progress=progress)
    except TellapartError as error:
        raise RunError(f"{older}, which cannot be read any more ({error}); train again.") from error
    rows = [row for row, (path, digest) in
            enumerate(zip(images.table.paths, images.digests, strict=True))
            if validation.get(path) == digest]  # fmt: skip
    if len(rows) < len(validation):
        missing = plural(len(validation) - len(rows), "image")
        raise RunError(f"{older}, of which {missing} changed or went away; train again.")
    chosen = np.array(rows, dtype=np.int64)
    if len(chosen) > MOST_KNOWN:
        random = np.random.default_rng(run.recipe.seed)
        chosen = np.sort(random.choice(chosen, MOST_KNOWN, replace=False))
    classifier = cast(AnyClassifier, predictor.model)  # a run's own
    pixels: Any = classifier.prepared(images, progress=progress)
    pixels = cast(Any, classifier).rows_of(pixels, chosen)
    probabilities, features = classifier.probabilities_and_features(pixels, progress=progress)
    none = np.zeros(len(detector.reference), dtype=bool)
    return KnownImages.of(features, probabilities, none)


def _chosen(given: Sequence[str | Path], progress: Progress) -> tuple[list[Path], list[str]]:
    """The files to look at, and what is to be said of their choice."""
    count_files(given, progress)  # names what is not there, and what is no picture
    files = list(each_file(given))
    if len(files) <= MOST_IMAGES:
        return files, []
    rows = np.sort(np.random.default_rng(0).choice(len(files), MOST_IMAGES, replace=False))
    return [files[row] for row in rows.tolist()], [
        f"Of {len(files):,} images {MOST_IMAGES:,} were looked at, a random choice."
    ]


def _new_ones(files: Sequence[Path], run: Run) -> tuple[list[Path], list[str]]:
    """Files with other contents than the run's images and than one another.

    What cannot be opened stays: whoever reads it says why.
    """
    seen = {image.digest for image in run.images if image.part in SEEN_PARTS}
    contents: set[str] = set()
    kept: list[Path] = []
    own = 0
    for file in files:
        try:
            digest = bytes_digest(file.read_bytes())
        except OSError:
            kept.append(file)
            continue
        if digest in seen:
            own += 1
        elif digest not in contents:
            contents.add(digest)
            kept.append(file)
    notes = []
    if own:
        notes.append(
            f"{plural(own, 'image')} that the run was trained on or chosen with "
            f"{'is' if own == 1 else 'are'} left out."
        )
    copies = len(files) - own - len(kept)
    if copies:
        notes.append(
            "1 byte-for-byte duplicate of another image counts once." if copies == 1
            else f"{copies:,} byte-for-byte duplicates of other images count once."
        )  # fmt: skip
    return kept, notes


def _looked_at(
    predictor: Predictor, files: Sequence[Path], progress: Progress
) -> tuple[
    list[Answer], NDArray[np.float32], NDArray[np.float64], list[tuple[str, str]]
]:  # fmt: skip
    """Answers, features and probabilities of the images that can be read; the others, and why."""
    answers: list[Answer] = []
    problems: list[tuple[str, str]] = []
    features: list[NDArray[np.float32]] = []
    probabilities: list[NDArray[np.float64]] = []
    for batch in predictor.batches(files, total=len(files), progress=progress):
        for answer in predictor.answers(batch):
            if answer.error:
                problems.append((answer.path, answer.error))
            else:
                answers.append(answer)
        if len(batch.judged) and batch.features is not None:
            features.append(batch.features)
            probabilities.append(batch.judged.probabilities)
    if not answers:
        return [], np.zeros((0, 0), np.float32), np.zeros((0, 0)), problems
    return answers, np.concatenate(features), np.concatenate(probabilities), problems


def _nothing_left(
    given: Sequence[str | Path], problems: Sequence[tuple[str, str]], left_out: Sequence[str]
) -> str:
    names = listed([str(path) for path in given], 3)
    if problems:
        path, reason = problems[0]
        why = f"none of its images can be read, the first because {shown(path)}: {shown(reason)}"
        return f"Nothing of {names} can be compared: {why.rstrip('.')}."
    return (
        f"Nothing of {names} can be compared: all its images are ones that the run was trained on "
        "or chosen with. Give images that are new."
    )


def _name(given: Sequence[str | Path]) -> str:
    first = file_part(Path(given[0]).absolute().name)
    return first + (f"-and-{len(given) - 1}-more" if given[1:] else "")


def _write(
    run: Run, page: Path, numbers: Path, table: Path, found: Drift, given: Sequence[str | Path]
) -> None:
    """The page, the same as JSON, and a table of all images, the oddest first."""
    from tellapart.report.of_drift import write_drift_report

    compared = found.compared
    write_csv(
        table, ("path", "prediction", "confidence", "oddness", "distance", "unknown"),
        (
            (answer.path, answer.prediction, f"{max(answer.probabilities.values()):.4f}",
             f"{compared.oddness[row]:.3f}", f"{compared.distances[row]:.4f}",
             "true" if compared.far[row] else "false")
            for row in compared.odd_first.tolist() for answer in [found.answers[row]]
        ),
    )  # fmt: skip
    content = found.to_json()
    del content["report"]  # it lies beside
    write_json(numbers, content)
    write_drift_report(
        page, run, compared, found.answers, given=given, table=table.name, notes=found.notes,
        problems=found.problems,
    )  # fmt: skip
