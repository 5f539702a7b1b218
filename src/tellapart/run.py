"""Run: the folder that an experiment leaves behind.

Everything in it is plain data (JSON, YAML, CSV, safetensors, images): opening a run
executes nothing. Every file is written under a temporary name and renamed, and
``run.json`` carries a status, so that a run that was killed says so.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import result
from tellapart.errors import FileError, RunError
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.learning_curve import LearningCurve, read_curve
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.predictions import Predictions, load_predictions
from tellapart.files import clear_leftovers, write_text
from tellapart.folders import (
    content_of,
    empty,
    filled_in_place,
    make_folder,
    reason_of,
    remove_whole,
    renamed_into_place,
)
from tellapart.lock import locked
from tellapart.machine import resolve_device
from tellapart.number import Number
from tellapart.progress import DEFAULT, Progress
from tellapart.recipe import Recipe
from tellapart.recipe_reading import load_recipe, recipe_to_yaml
from tellapart.run_images import StoredImage, groups_of, leaked_paths, load_images
from tellapart.run_info import (
    INTERRUPTED,
    RUNNING,
    FileDigest,
    RunInfo,
    Status,
    read_info,
    read_object,
    write_info,
)
from tellapart.wording import nearest, quoted, shown

if TYPE_CHECKING:
    from torch import nn

    from tellapart.data.source import Source
    from tellapart.prediction.answers import Answers
    from tellapart.prediction.classifier import Classifier
    from tellapart.prediction.predictor import ImageGiven, Predictor
    from tellapart.prediction.stored import AnyClassifier

#: Files whose digests ``run.json`` keeps, beside the predictions; the model has its own.
_DIGESTED = ("recipe.yaml", "metrics.json", "images.csv", "history.csv", "unknown.safetensors",
             "known.safetensors", "thumbnails.npy", "learning_curve.json")  # fmt: skip

#: So many doubts about the number are printed; the report has all.
_DOUBTS = 3

#: What the number of a cross-validated run is about.
HELD_OUT = (
    "every image was predicted by a model that did not see it; the model in this folder was "
    "trained on all of them"
)

#: A run, or the path of its folder.
RunGiven = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A run folder, opened for reading; it stands for its path wherever one is asked for."""

    path: Path
    #: Where it will stand, while it is filled beside that place; None: it stands at ``path``.
    place: Path | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    def predict(
        self,
        images: Iterable[ImageGiven] | ImageGiven,
        *,
        device: str = "auto",
        unknown: bool = False,
        progress: Progress = DEFAULT,
    ) -> Answers:
        """Classify images; see :func:`tellapart.predict`."""
        return self.predictor(device, unknown=unknown).predict(images, progress=progress)

    def predictor(self, device: str = "auto", *, unknown: bool = False) -> Predictor:
        """What answers for this run, by the policy in force.

        Args:
            unknown: answer "unknown" for images unlike the training ones.

        Raises:
            RunError: model or ``run.json`` are damaged, or the run cannot answer "unknown".
            TellapartError: there is no such device here.
        """
        from tellapart.evaluation.unknown import load_unknown
        from tellapart.prediction.predictor import Predictor

        unknown = unknown or self.policy.unknown
        detector = load_unknown(self.intact(self.unknown_file)) if unknown else None
        return Predictor(self.classifier(device), self.policy, detector)

    def reread(self) -> None:
        """Forget what was read of the folder, so that this object is what the folder now says.

        Verbs that change a run do it with the one that they were given; it is needed only after
        another process has changed the folder.
        """
        for name in self.__dict__.keys() - {"path", "place"}:  # what cached_property keeps
            del self.__dict__[name]

    @property
    def exit_code(self) -> int:
        """Of the command that made it."""
        return result.INTERRUPTED if self.interruption else result.DONE

    def lines(self) -> Iterator[str]:
        """What ``tellapart train`` prints; the last line is the run's folder."""
        for part in ("validation", "test"):
            if part in self.metrics:
                yield f"{part:<10}  {self._accuracy_line(part)}"
        if (validated := self.info.cross_validation) is not None:
            yield f"cross-validated in {len(validated.folds)} folds: {HELD_OUT}"
        for rule in self.policy.rules:
            yield f"decision    {rule}"
        if self.interruption:
            yield f"training    {self.interruption}"
        if (verdict := self.info.verdict) is not None:
            yield f"believe it? {verdict.answer}"
            yield from (f"            {sentence}" for sentence in verdict.doubts[:_DOUBTS])
        yield f"{self.report.name}, the model and the predictions are in"
        yield shown(self.path)

    def _accuracy_line(self, part: str) -> str:
        accuracy = self.accuracy(part)
        text = (
            f"accuracy {accuracy.with_limits(2)}"
            if accuracy.known
            else f"no accuracy: {accuracy.reason}"
        )
        for kind in ("with", "without"):
            if f"{part}_{kind}_leaked" in self.metrics:
                other, leaked = self.accuracy(f"{part}_{kind}_leaked"), len(self.leaked(part))
                text += f"; {kind} the {leaked:,} leaked: {other.percent(2)}"
        return text

    def to_json(self) -> Mapping[str, Any]:
        """What ``tellapart train --json`` prints: metrics, where the run is, how far it came."""
        stopped = {"interrupted": self.interruption} if self.interruption else {}
        rule = {"decision": self.decision.to_dict()} if self.decision is not None else {}
        extras = self.policy.extras_to_dict()
        policy = {"policy": extras} if extras else {}
        folds = self.info.cross_validation
        validated = {"cross_validation": asdict(folds)} if folds is not None else {}
        told = self.info.verdict
        verdict = {"verdict": asdict(told)} if told is not None else {}
        return {
            "run": str(self.path), **stopped, **rule, **policy, **validated, **verdict,
            **self.metrics,
        }  # fmt: skip

    @cached_property
    def info(self) -> RunInfo:
        """What ``run.json`` says.

        Raises:
            RunError: see :func:`read_info`.
        """
        return read_info(self.path / "run.json")

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe in full, as it was resolved for this run."""
        return load_recipe(self.intact(self.path / "recipe.yaml"))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``: one entry a part that was evaluated.

        Raises:
            RunError: it is missing, damaged or changed.
        """
        file = self.intact(self.path / "metrics.json")
        if not file.is_file():
            raise RunError(f"{file} is missing; put back a copy of the file, or train again.")
        return read_object(file)

    def accuracy(self, part: str) -> Number:
        """The stored accuracy of one of :attr:`metrics`' parts.

        Raises:
            RunError: it is not there, or no number.
        """
        try:
            return Number.from_json(self.metrics[part]["accuracy"])
        except (KeyError, TypeError) as error:
            raise RunError(
                f"{self.path / 'metrics.json'} is damaged: it has no accuracy of '{part}'; train "
                "again."
            ) from error

    @cached_property
    def source(self) -> Source:
        """Where its images are and how they are read.

        Raises:
            RunError: ``run.json`` does not say it as this version does.
        """
        from tellapart.data.source import Source

        stored, settings = dict(self.info.source), self.recipe.data
        try:
            # The first runs left to the recipe what was not given, and named the folder as it
            # was given, with its absolute path beside it.
            stored["classes"] = stored["classes"] or settings.classes
            for part in ("train", "validation", "test"):
                stored.setdefault(part, getattr(settings, f"{part}_folders"))
            if not Path(stored["folder"]).is_absolute() and self.info.data.source:
                stored["folder"] = self.info.data.source
            return Source.from_dict(stored)
        except (KeyError, TypeError) as error:
            raise RunError(
                f"{self.path / 'run.json'} does not say where its images are: 'source' lacks or "
                f"has wrong {error}."
            ) from error

    @property
    def home(self) -> Path:
        """The folder that its page names in commands."""
        return self.place or self.path

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def status(self) -> Status:
        """``running``, ``complete`` or ``interrupted``."""
        return self.info.status

    @property
    def interruption(self) -> str:
        """Where an interrupted training stopped and how it goes on, else "".

        For example "stopped at epoch 2 of 30; go on with 'tellapart train --resume runs/x'".
        """
        if not self.info.stopped:
            return ""
        stages, settings = self.info.stages, self.recipe.stages
        where = ""
        if stages:
            last, number = stages[-1], len(stages)
            target = last.target_epochs or settings[number - 1].epochs
            of_stage = f" in stage {number} of {len(settings)}" if len(settings) > 1 else ""
            where = f" at epoch {last.last_epoch} of {target}{of_stage}"
        why = "" if self.info.stopped == INTERRUPTED else f" ({self.info.stopped})"
        return f"stopped{where}{why}; go on with 'tellapart train --resume {self.home}'"

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights were kept, counted over all stages; None without epochs.

        Each stage goes on from its own best epoch, so it is the last stage's that was kept.
        """
        # A stage that was interrupted before its first epoch has nothing to keep.
        stages = [stage for stage in self.info.stages if stage.best_epoch]
        if not stages:
            return None
        return sum(stage.last_epoch for stage in stages[:-1]) + stages[-1].best_epoch

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of every probability row."""
        return self.info.classes

    @cached_property
    def decision(self) -> Decision | None:
        """How a class is chosen from probabilities; None: the likeliest is.

        Raises:
            RunError: ``run.json`` does not say it as this version does.
        """
        if self.info.decision is None:
            return None
        try:
            decision = Decision.from_dict(self.info.decision)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.path / 'run.json'} is damaged: its key 'decision' lacks or has wrong "
                f"{error}; put back a copy of the file, or train again."
            ) from error
        if decision.positive not in self.classes:
            raise RunError(
                f"{self.path / 'run.json'} is damaged: its decision is about "
                f"'{decision.positive}', which is none of its classes; put back a copy of the "
                "file, or train again."
            )
        return decision

    @cached_property
    def policy(self) -> Policy:
        """How answers are made of probabilities.

        Raises:
            RunError: ``run.json`` does not say it as this version does.
        """
        try:
            return Policy.from_dict(self.decision, self.info.policy)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(
                f"{self.path / 'run.json'} is damaged: its key 'policy' lacks or has wrong "
                f"{error}; put back a copy of the file, or decide again: 'tellapart decide'."
            ) from error

    @cached_property
    def _fold_decisions(self) -> tuple[Decision, ...]:
        """How each fold of a cross-validation chose a class; empty: the likeliest."""
        folds = self.info.cross_validation.folds if self.info.cross_validation else ()
        try:
            return tuple(Decision.from_dict(f.decision) for f in folds if f.decision is not None)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.path / 'run.json'} is damaged: its key 'cross_validation' has a wrong "
                f"decision ({error}); put back a copy of the file, or train again."
            ) from error

    @property
    def model_file(self) -> Path:
        return self.path / "model.safetensors"

    def classifier(self, device: str = "auto") -> AnyClassifier:
        """The trained classifier, held against ``run.json``.

        Raises:
            RunError: the file is missing, damaged, or not the one that the run was finished with.
            TellapartError: there is no such device here.
        """
        from tellapart.prediction.stored import open_classifier

        return open_classifier(
            self.model_file,
            device=resolve_device(device),
            digest=self.info.model_digest,
            classes=self.classes,
        )

    def single_classifier(self, device: str = "auto") -> Classifier:
        """The trained classifier where it is one network, as exporting needs it.

        Raises:
            RunError: several networks answer together; and as :meth:`classifier`.
        """
        from tellapart.prediction.classifier import Classifier

        found = self.classifier(device)
        if isinstance(found, Classifier):
            return found
        raise RunError(
            f"In {self.path} {len(found.members)} networks answer together, and they are no single "
            "network that could be handed on; use the run as it is, or train one of the members "
            "by itself."
        )

    def torch_module(self) -> nn.Module:
        """The trained network as a ``torch.nn.Module``, to go on with in code of one's own.

        It takes float images (N, 3, H, W), RGB, 0..255, of the size of
        ``run.classifier().preprocessing``, and gives logits (N, C), or (N, 1) of a sigmoid
        output; normalising is part of it. It is in inference mode, on the CPU, float32; every
        weight can be trained. ``run.info.temperature`` is what logits are divided by for
        calibrated probabilities.

        >>> network = open_run("runs/pets").torch_module()                    # doctest: +SKIP
        >>> probabilities = network(images).softmax(dim=1)                     # doctest: +SKIP

        Raises:
            RunError: the model is missing or damaged, or is several networks.
        """
        network: nn.Module = self.single_classifier("cpu").network()
        return network.requires_grad_(True)

    def intact(self, file: Path) -> Path:
        """A file of the run, held against what ``run.json`` says of it.

        Of what ``run.json`` does not list (in runs of older versions, that is everything), the
        file is given as it is. A file that only grows is held against its beginning.

        Raises:
            RunError: it is gone, or is not as it was written.
        """
        written = self.info.files.get(file.relative_to(self.path).as_posix())
        if written is None:
            return file
        try:
            content = file.read_bytes()
        except OSError as error:
            raise RunError(
                f"{file} cannot be read ({error.strerror}); put back a copy of the file, or train "
                "again."
            ) from error
        if file == self.history_file:  # to which an extension adds before it is done
            content = content[: written.size]
        if FileDigest.of(content) != written:
            raise RunError(
                f"{file} was changed since the run was written; put back a copy of the file, or "
                "train again."
            )
        return file

    def digests(self) -> dict[str, FileDigest]:
        """What :attr:`RunInfo.files` says of the files as they are now."""
        files = [self.path / name for name in _DIGESTED]
        files += sorted((self.path / "predictions").glob("*.csv"))
        return {
            file.relative_to(self.path).as_posix(): FileDigest.of(file.read_bytes())
            for file in files
            if file.is_file()
        }

    @property
    def unknown_file(self) -> Path:
        """What tells images unlike the training ones; absent where it could not be set."""
        return self.path / "unknown.safetensors"

    @property
    def known_file(self) -> Path:
        """What many images together are held against (:mod:`tellapart.monitoring.known`); absent in
        older runs, and where :attr:`unknown_file` is."""
        return self.path / "known.safetensors"

    @property
    def thumbnails_file(self) -> Path:
        """Small grey pictures of the train and validation images, in the order of
        :attr:`images`; absent in older runs and where they are very many."""
        return self.path / "thumbnails.npy"

    @property
    def curve_file(self) -> Path:
        """What more images would buy; absent where that was not measured."""
        return self.path / "learning_curve.json"

    @cached_property
    def learning_curve(self) -> LearningCurve | None:
        """What more images would buy; None where that was not measured.

        Raises:
            RunError: the file is damaged or changed.
        """
        file = self.intact(self.curve_file)
        return read_curve(file, read_object(file)) if file.is_file() else None

    @property
    def images_file(self) -> Path:
        """Every image of the run; see :mod:`tellapart.run_images`."""
        return self.path / "images.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoint"

    @property
    def history_file(self) -> Path:
        return self.path / "history.csv"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts whose predictions are stored, validation before test."""
        order = {"train": 0, "validation": 1, "test": 2}
        listed = [Path(name) for name in self.info.files if name.startswith("predictions/")]
        names = [p.stem for p in listed or (self.path / "predictions").glob("*.csv")]
        return tuple(sorted(names, key=lambda name: (order.get(name, 3), name)))

    def predictions_file(self, part: str) -> Path:
        return self.path / "predictions" / f"{part}.csv"

    def predictions(self, part: str) -> Predictions:
        """What the run said of all images of a part, with their groups, at the decision in force.

        Raises:
            RunError: the file is missing or damaged.
        """
        predictions = load_predictions(self.intact(self.predictions_file(part)))
        return replace(
            predictions,
            groups=groups_of(self.images, predictions.paths),
            decision=self.decision,
            fold_decisions=self._fold_decisions if predictions.folds is not None else (),
            abstention=self.policy.abstention,
        )

    def scored_predictions(self, part: str) -> Predictions:
        """What the entry ``part`` of :attr:`metrics` is about: all images but the leaked ones.

        With ``data.keep_leaks`` of the recipe, and in runs of older versions, these are all.

        Raises:
            RunError: the file is missing or damaged.
        """
        predictions = self.predictions(part)
        if f"{part}_with_leaked" not in self.metrics:
            return predictions
        leaked = self.leaked(part)
        return predictions.select(np.array([path not in leaked for path in predictions.paths]))

    @cached_property
    def images(self) -> list[StoredImage]:
        """Every image that the run was made with; empty where it did not keep them.

        Raises:
            RunError: the file is damaged or changed.
        """
        return load_images(self.intact(self.images_file))

    def leaked(self, part: str) -> dict[str, str]:
        """Images of a part that an earlier part has too, by path: "copy" or "near".

        Raises:
            RunError: the file is damaged or changed.
        """
        return leaked_paths(self.images, part)

    def history(self) -> list[dict[str, float]]:
        """One row an epoch; empty where the run was not trained by gradient descent."""
        import csv

        if not self.intact(self.history_file).is_file():
            return []
        try:
            with self.history_file.open(encoding="utf-8", newline="") as file:
                return [
                    {key: float(value) for key, value in row.items() if value not in ("", None)}
                    for row in csv.DictReader(file)
                ]
        except (ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{self.history_file} is damaged: {error}; train again.") from error

    def update(self, **changes: Any) -> Run:
        """Write ``run.json`` with these facts changed, and return the run reread."""
        return self.with_info(replace(self.info, **changes))

    def with_info(self, info: RunInfo) -> Run:
        """Write ``run.json`` anew, and return the run reread.

        Keys that a newer version wrote and this one does not know stay.
        """
        file = self.path / "run.json"
        known = asdict(info)
        others = {k: v for k, v in read_object(file).items() if k not in known}
        write_info(file, known | others)
        return Run(self.path, self.place)

    def _repr_html_(self) -> str:
        from tellapart.notebook import card

        if self.status == RUNNING or not (self.path / "metrics.json").is_file():
            return card(f"{self.name} ({self.status})", sentences=[", ".join(self.classes)])
        rows = [
            (part, f"{self.metrics[part]['images']:,}",
             self.accuracy(part).percent(2), self.accuracy(part).limits(2))
            for part in reversed(self.parts) if part in self.metrics
        ]  # fmt: skip
        part, _, accuracy, limits = rows[0]
        figure = self.path / "figures" / "confusion_matrix.svg"
        return card(
            f"{self.name}: {', '.join(self.classes[:5])}{' ...' if len(self.classes) > 5 else ''}",
            sentences=[
                *([f"Training {self.interruption}."] if self.interruption else []),
                *(f"Decision: {rule}." for rule in self.policy.rules),
            ],
            headline=f"{accuracy} accuracy on {part} (95 %: {limits})",
            table=[("part", "images", "accuracy", "95 %"), *rows],
            figure=figure.read_text("utf-8") if figure.is_file() else "",
            link=self.report,
        )


def create_run(folder: Path, recipe: Recipe, info: RunInfo, *, numbered: bool = False) -> Run:
    """Make a run folder with its recipe and a ``run.json``: all of it, or nothing.

    Of several that ask for one folder at a time, one gets it. A kill leaves no folder.

    Args:
        numbered: where the folder is taken, take ``folder-2`` and so on.

    Raises:
        RunError: the folder holds something already, or cannot be written.
    """

    def fill(unfinished: Path) -> None:
        (unfinished / "predictions").mkdir()
        (unfinished / "figures").mkdir()
        write_text(unfinished / "recipe.yaml", recipe_to_yaml(recipe))
        files = Run(unfinished).digests()
        write_info(unfinished / "run.json", asdict(replace(info, files=files)))

    try:
        if numbered:
            return Run(make_folder(folder, fill))
        if not folder.is_dir():
            return Run(renamed_into_place(folder, fill, lambda path: path))
        # It keeps its permission bits, and may be a mount point.
        with locked(folder, f"Somebody else makes a run in {folder} now; give --run another path."):
            _clear_half_made(folder)
            if content_of(folder):
                raise RunError(f"{folder} exists and is not empty; give --run another path.")
            return Run(filled_in_place(folder, fill))
    except (OSError, FileError) as error:
        cause = error.__cause__ if isinstance(error, FileError) else error
        if isinstance(cause, OSError) and cause.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise RunError(
                f"{folder} exists already, or somebody else makes it now; give --run another path."
            ) from error
        raise RunError(
            f"The run folder {folder} cannot be made: {reason_of(error)}; choose another with "
            "--runs."
        ) from error


def _clear_half_made(folder: Path) -> None:
    """Empty a folder in which the making of a run was killed: it has nothing else in it."""
    clear_leftovers(folder)
    if _is_half_made(folder):
        empty(folder)


def _is_half_made(folder: Path) -> bool:
    found = {path.name: path for path in content_of(folder)}
    if "predictions" not in found or found.keys() - {"predictions", "figures", "recipe.yaml"}:
        return False
    return not any(list(path.iterdir()) for path in found.values() if path.is_dir())


def require_free(folder: Path) -> None:
    """A run folder is a new one, or empty but for what a killed start left; said before any work.

    Raises:
        RunError: it holds something already, or a file is in its place.
    """
    if folder.is_file():
        raise RunError(f"{shown(folder)} is a file; give --run another path.")
    if not folder.is_dir():
        return
    clear_leftovers(folder)
    if content_of(folder) and not _is_half_made(folder):
        raise RunError(f"{shown(folder)} exists and is not empty; give --run another path.")


def open_run(run: RunGiven, *, complete: bool = True) -> Run:
    """Open a run folder; a run that is open already is read anew.

    Raises:
        RunError: it is no run folder, is damaged, comes from a newer version, or (with
            ``complete``) did not finish.
    """
    opened = Run(run.path if isinstance(run, Run) else Path(run))
    if not opened.path.is_dir():
        raise RunError(
            f"There is no run folder {shown(opened.path)}.{_hint(opened.path)} 'tellapart train' "
            "makes one."
        )
    if not (opened.path / "run.json").exists():
        from tellapart.prediction.bundle import is_bundle

        if is_bundle(opened.path):
            raise RunError(
                f"{shown(opened.path)} is an export, which 'tellapart predict' takes; give the run "
                "that it was made of."
            )
    if opened.status == RUNNING and complete:
        raise RunError(
            f"{opened.path} did not finish; 'tellapart train --resume {opened.path}' goes on with "
            "it."
        )
    return opened


def training_lock(run: Run) -> AbstractContextManager[None]:
    """While inside, no other process trains this run.

    Raises:
        RunError: one does already.
    """
    return locked(
        run.path,
        f"{run.path} is being trained by another process; wait for its end, or stop it.",
    )


def _hint(path: Path) -> str:
    """The run beside it that may have been meant."""
    try:
        runs = [file.parent.name for file in path.parent.glob("*/run.json")]
    except OSError:
        return ""
    beside = {name: str(path.parent / name) for name in runs}
    meant = [beside[name] for name in nearest(path.name, beside, cutoff=0.7)]
    return f" Did you mean {quoted(meant)}?" if meant else ""


def run_name(data_name: str, recipe_name: str, now: datetime) -> str:
    """The name of a run's folder: date, data and recipe, fit for every file system."""
    safe = re.sub(r"[^\w.]+", "-", f"{data_name}-{recipe_name}").strip("-.")[:80] or "run"
    return f"{now:%Y-%m-%d-%H%M}-{safe}"


def remove_run(run: Run) -> None:
    """Delete a run folder that this process made and could not finish."""
    remove_whole(run.path)
