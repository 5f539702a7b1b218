"""``tellapart predict``: what a run says of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

from tellapart.data.given import STANDARD_INPUT, count_files, each_file
from tellapart.errors import DataError
from tellapart.evaluation.columns import word_for
from tellapart.machine import keep_memory
from tellapart.prediction.answers import (
    UNCERTAIN,
    UNKNOWN,
    Answer,
    Answers,
    RowForm,
    csv_line,
)
from tellapart.prediction.answers_file import AnswersFile, require_format
from tellapart.prediction.on_ray import answers_on_ray, require_ray
from tellapart.prediction.predictor import ImageGiven, Predictor
from tellapart.prediction.sorting import Sorter, Way
from tellapart.predictors import open_predictor
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, SOME_FAILED, ShortRepr, card_of
from tellapart.run import Run, RunGiven
from tellapart.wording import plural, shown

#: Hexadecimal digits of a model's digest that stand beside each of its answers.
_MODEL_DIGITS = 16


@dataclass(frozen=True, repr=False)
class Predicted(ShortRepr):
    """What became of images whose answers went into a file, or that were sorted."""

    #: How many images got each answer, those that were in the file before among them.
    counts: Mapping[str, int]
    #: How many could not be read.
    failed: int
    #: How many were in the file before.
    before: int
    out: Path | None = None
    sorted_into: Path | None = None

    @property
    def images(self) -> int:
        """How many were answered or could not be read."""
        return sum(self.counts.values()) + self.failed

    @property
    def exit_code(self) -> int:
        """:data:`SOME_FAILED` where an image could not be read, now or before."""
        return SOME_FAILED if self.failed else DONE

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        of_before = f", {self.before:,} of them from before" if self.before else ""
        yield f"{plural(self.images, 'image')}{of_before}"
        width = max(map(len, map(shown, self.counts)), default=0)
        for answer, count in self.counts.items():
            yield f"  {shown(answer):<{width}}  {count:,}"
        if self.failed:
            where = ", the reasons are in the column 'error'" if self.out is not None else ""
            yield f"  {self.failed:,} could not be read{where}"
        if self.out is not None:
            yield f"answers  {shown(self.out)}"
        if self.sorted_into is not None:
            yield f"sorted   {shown(self.sorted_into)}"

    def to_json(self) -> dict[str, Any]:
        places = {"out": self.out, "sorted_into": self.sorted_into}
        return {
            "images": self.images, "failed": self.failed, "before": self.before,
            "counts": dict(self.counts),
            **{key: str(place) for key, place in places.items() if place is not None},
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return card_of("Predictions", self.lines())


@overload
def predict(
    run: RunGiven, images: Iterable[ImageGiven] | ImageGiven, *, device: str = ...,
    unknown: bool = ..., out: None = ..., sort_into: None = ..., link: bool = ...,
    move: bool = ..., workers: None = ..., progress: Progress = ...,
) -> Answers: ...  # fmt: skip
@overload
def predict(
    run: RunGiven, images: Iterable[ImageGiven] | ImageGiven, *, device: str = ...,
    unknown: bool = ..., out: str | Path | None = ..., sort_into: str | Path | None = ...,
    link: bool = ..., move: bool = ..., workers: int | None = ..., progress: Progress = ...,
) -> Answers | Predicted: ...  # fmt: skip
def predict(
    run: RunGiven,
    images: Iterable[ImageGiven] | ImageGiven,
    *,
    device: str = "auto",
    unknown: bool = False,
    out: str | Path | None = None,
    sort_into: str | Path | None = None,
    link: bool = False,
    move: bool = False,
    workers: int | None = None,
    progress: Progress = DEFAULT,
) -> Answers | Predicted:
    """Classify images: files, all pictures in and below folders, and pictures in memory.

    With ``out`` or ``sort_into`` images must be files and folders, or ``-`` for a list of them on
    standard input, and there may be any number: memory does not grow with it.

    Args:
        run: a run or its folder, or the folder of an export.
        images: files and folders; bytes, pictures of Pillow and arrays, as
            :meth:`~tellapart.prediction.predictor.Predictor.predict` takes them. Every file that is
            named is answered, and in a folder every file that is a picture by its name, whether
            it can be read or not.
        unknown: answer "unknown" for images unlike those that the run was trained on; the
            probabilities stay as they are.
        out: write the answers into this file, as its ending says: .csv, .jsonl, .ndjson or
            .parquet. Paths that it holds already are not done again.
        sort_into: put each image that can be read into the folder of its answer below this one.
        link, move: sort links to the files, or the files themselves, instead of copies.
        workers: with ``out`` or ``sort_into``, so many processes of Ray, on this machine or on the
            cluster of ``RAY_ADDRESS``; None: this process alone.

    Returns:
        One answer a file, in the order given, folders sorted by path; an answer whose ``error``
        is not empty says why its file could not be read. With ``out`` or ``sort_into``, how many
        images got which answer.

    Raises:
        RunError: the run cannot be used, or cannot answer "unknown".
        BundleError: the export cannot be used.
        DataError: a path does not exist, a folder holds no picture, or ``out`` holds answers of
            another model.
        FileError: the disk is full, or a place cannot be written to. What is in ``out`` by then
            stays, and the same call goes on with it.
        TellapartError: Ray is not installed, its cluster cannot be reached, or its workers fail.
    """
    if ((link or move) and sort_into is None) or (link and move):
        raise DataError(
            "--link and --move say what --sort-into does with the files; give it and one of them."
        )
    if workers is not None:
        if out is None and sort_into is None:
            raise DataError(
                "--workers share work whose answers go into a file or folders; give --out or "
                "--sort-into with it."
            )
        if workers < 1:
            raise DataError(f"--workers {workers}: give at least one.")
        require_ray()
    predictor = open_predictor(run, device=device, unknown=unknown)
    if out is None and sort_into is None:
        return predictor.predict(_from_list(images), progress=progress)
    paths = _paths(images)
    way: Way = "link" if link else "move" if move else "copy"
    if out is not None:
        require_format(Path(out))
    opening = None if workers is None else partial(
        open_predictor, Path(run.path if isinstance(run, Run) else run).resolve(),
        device=device, unknown=unknown,
    )  # fmt: skip
    return _predict_into(
        _Answerer(predictor, opening, workers or 0), paths,
        Path(out) if out is not None else None,
        Path(sort_into) if sort_into is not None else None, way, progress,
    )  # fmt: skip


@dataclass(frozen=True)
class _Answerer:
    """What gives answers: a predictor in this process, or workers that open one each."""

    predictor: Predictor
    #: Opens the same predictor in another process; None: this one does all.
    opening: Callable[[], Predictor] | None = None
    workers: int = 0

    def answers(
        self, files: Iterator[Path], total: int | None, progress: Progress
    ) -> Iterator[list[Answer]]:
        """Answers for files of any number, a batch at a time, in their order."""
        if self.opening is not None:
            yield from answers_on_ray(
                self.opening, files, self.workers, total=total, progress=progress
            )
            return
        for batch in self.predictor.batches(files, total=total, progress=progress):
            yield list(self.predictor.answers(batch))


class AnswerStream:
    """Answers for standard output, an image at a time, of any number of images."""

    def __init__(
        self, run: RunGiven, images: Sequence[str | Path], *, device: str = "auto",
        unknown: bool = False, progress: Progress = DEFAULT,
    ) -> None:  # fmt: skip
        self._predictor = open_predictor(run, device=device, unknown=unknown)
        self._form = RowForm(self._predictor.classes, self._predictor.policy)
        self._images, self._progress = images, progress
        #: Of the answers that were taken so far.
        self.exit_code = DONE

    def csv_lines(self) -> Iterator[str]:
        """Lines of a table, without their ends."""
        yield csv_line(self._form.columns)
        for answer in self._answers():
            yield csv_line(self._form.cells(answer))

    def objects(self) -> Iterator[dict[str, Any]]:
        """What each answer is as JSON."""
        return map(self._form.to_json, self._answers())

    def _answers(self) -> Iterator[Answer]:
        keep_memory()
        predictor, progress = self._predictor, self._progress
        total = count_files(self._images, progress)
        for batch in predictor.batches(each_file(self._images), total=total, progress=progress):
            for answer in predictor.answers(batch):
                if answer.error:
                    self.exit_code = SOME_FAILED
                yield answer
        predictor.tell(progress)


def _paths(images: Any) -> list[str | Path]:
    given = [images] if isinstance(images, str | Path) else list(images)
    if not all(isinstance(path, str | Path) for path in given):
        raise DataError("--out and --sort-into take files and folders, not pictures in memory.")
    return given


def _from_list(images: Any) -> Any:
    """Images, those of standard input one by one in the place of ``-``."""
    if isinstance(images, str | Path):
        images = [images]
    if not isinstance(images, list | tuple) or not any(
        isinstance(i, str | Path) and str(i) == STANDARD_INPUT for i in images
    ):
        return images
    return [
        file
        for i in images
        for file in (each_file([i]) if isinstance(i, str | Path) and str(i) == STANDARD_INPUT
                     else [i])
    ]  # fmt: skip


def _predict_into(
    answerer: _Answerer,
    images: Sequence[str | Path],
    out: Path | None,
    sort_into: Path | None,
    way: Way,
    progress: Progress,
) -> Predicted:
    keep_memory()
    predictor, sorter = answerer.predictor, None
    if sort_into is not None:
        others = [word_for(word, predictor.classes) for word in (UNKNOWN, UNCERTAIN)]
        words = [*predictor.classes, *others]
        sorter = Sorter.of(sort_into, words, way)
        sorter.require_outside(images)
    total = count_files(images, progress)
    form = RowForm(
        predictor.classes, predictor.policy, predictor.detector is not None,
        predictor.model.digest[:_MODEL_DIGITS],
    )  # fmt: skip
    counts: Counter[str] = Counter()
    failed = before = 0
    with ExitStack() as stack:
        file = stack.enter_context(AnswersFile(out, form)) if out is not None else None
        if file is not None:
            before, counts = len(file.done), Counter(file.done.counts)
            failed = counts.pop("", 0)
            if before:
                progress.note(f"{shown(file.path)} holds {plural(before, 'answer')} already.")
        new = _not_done(each_file(images), file, sorter)
        left = None if total is None else max(0, total - before)
        for answers in answerer.answers(new, left, progress):
            # A copy is there before its row says so, a file goes after: a kill loses neither.
            if sorter is not None and sorter.way != "move":
                _sort(sorter, answers)
            if file is not None:
                file.write(answers)
            if sorter is not None and sorter.way == "move":
                _sort(sorter, answers)
            for answer in answers:
                if answer.error:
                    failed += 1
                else:
                    counts[answer.prediction] += 1
    predictor.tell(progress)
    order = {name: place for place, name in enumerate(predictor.classes)}
    sorted_counts = sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
    return Predicted(dict(sorted_counts), failed, before, out, sort_into)


def _not_done(
    files: Iterable[Path], file: AnswersFile | None, sorter: Sorter | None
) -> Iterator[Path]:
    """The files whose answers are not there yet; what should have been moved is moved."""
    for path in files:
        said = file.done.take(str(path)) if file is not None else None
        if said is None:
            yield path
        elif sorter is not None and sorter.way == "move" and said:
            sorter.put(path, said)


def _sort(sorter: Sorter, answers: Iterable[Answer]) -> None:
    for answer in answers:
        if not answer.error:
            sorter.put(Path(answer.path), answer.prediction)
