"""``tellapart decide``: how a run answers, chosen on its validation images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tellapart.errors import DataError, RunError, TellapartError
from tellapart.evaluation.abstaining import Answered, choose_abstention, measure_answered
from tellapart.evaluation.abstention import SURE
from tellapart.evaluation.calibration import Wish, choose_threshold
from tellapart.evaluation.choosing import choose_decision, require_choosable
from tellapart.evaluation.class_sets import SetsMeasured, choose_sets, measure_sets
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_json
from tellapart.progress import DEFAULT, Progress
from tellapart.result import DONE, ShortRepr, card_of
from tellapart.run import Run, RunGiven, open_run
from tellapart.wording import shown

#: A class and what is wished for it: ``("defective", 0.95)``, or as text ``"defective=0.95"``.
ClassWish = tuple[str, float] | str


@dataclass(frozen=True, repr=False)
class Decided(ShortRepr):
    """How a run answers now, and what that does on its own images."""

    run: Run
    policy: Policy
    #: By part, validation and test, where the run abstains.
    answered: Mapping[str, Answered]
    #: By part, where sets are given.
    sets: Mapping[str, SetsMeasured]
    notes: tuple[str, ...] = ()

    exit_code: ClassVar[int] = DONE

    def lines(self) -> Iterator[str]:
        """What the command prints."""
        for rule in self.policy.rules or ("the likeliest class, of every image",):
            yield f"decision    {rule}"
        for part in ("validation", "test"):
            if part in self.run.metrics:
                yield f"{part:<10}  accuracy {self.run.accuracy(part).with_limits(2)}"
            if part in self.answered:
                yield f"{'':<10}  {self.answered[part].sentence}"
            if part in self.sets:
                yield f"{'':<10}  {self.sets[part].sentence}"
        for note in self.notes:
            yield f"note        {note}"

    def to_json(self) -> dict[str, Any]:
        decision = self.policy.decision
        return {
            "run": str(self.run.path),
            "decision": decision.to_dict() if decision is not None else None,
            "policy": self.policy.extras_to_dict(),
            "rules": list(self.policy.rules),
            "answered": {part: found.to_json() for part, found in self.answered.items()},
            "sets": {part: found.to_json() for part, found in self.sets.items()},
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        return card_of("Decision", self.lines())


def decide(
    run: RunGiven,
    *,
    precision: ClassWish | None = None,
    recall: ClassWish | None = None,
    cost: ClassWish | None = None,
    at_most_wrong: float | None = None,
    sure: float = SURE,
    sets: float | None = None,
    unknown: bool = False,
    likeliest: bool = False,
    progress: Progress = DEFAULT,
) -> Decided:
    """Say how a run answers from now on; what is not asked for is no longer in force.

    Everything is chosen on the validation images; the test part is only measured. Stored
    predictions, metrics and the report are written anew. Without any wish nothing is changed, and
    what is in force is given.

    Args:
        precision, recall: call images this class from a probability on that had at least this
            precision or recall on validation, with the most of the other.
        cost: call images this class where that is cheaper, if missing one costs so much and a
            false alarm 1. One of the three at most.
        at_most_wrong: answer "uncertain" where needed so that at most this share of the answers
            is wrong.
        sure: how sure that is, over the validation images that could have been drawn.
        sets: name for each image the classes that hold the true one for this share of images.
        unknown: answer "unknown" for images unlike the training ones, without being asked.
        likeliest: the likeliest class again, of every image.

    Raises:
        DataError: a wish is none, cannot be fulfilled on validation, or needs more images.
        RunError: the run cannot be used, or has no validation images.
    """
    opened = open_run(run)
    wishes = {"precision": precision, "recall": recall, "cost": cost}
    given = {name: _wish(name, wish) for name, wish in wishes.items() if wish is not None}
    asked = bool(given) or at_most_wrong is not None or sets is not None or unknown
    if likeliest and asked:
        raise DataError("--likeliest takes all back, so no wish goes beside it; leave one out.")
    if not asked and not likeliest:
        return _found(opened, ())
    if len(given) > 1:
        raise DataError(
            f"{' and '.join(f'--{name}' for name in given)} each choose the threshold; give one."
        )
    for name, share in (("at-most-wrong", at_most_wrong), ("sets", sets), ("sure", sure)):
        if share is not None and not 0 < share < 1:
            raise DataError(f"--{name} is a share above 0 and below 1, not {share:g}.")
    if opened.info.cross_validation is not None:
        raise RunError(
            f"{opened.path} was cross-validated: what it said of held-out images came from the "
            "classifiers of its folds, and says nothing of the threshold of this one; train with a "
            "validation part to decide on."
        )
    if unknown and not opened.intact(opened.unknown_file).is_file():
        raise RunError(
            f"{opened.path} cannot answer 'unknown': it has no {opened.unknown_file.name}. Runs "
            "with at least 19 validation images get one when they are trained."
        )
    policy = Policy(unknown=unknown)
    notes: tuple[str, ...] = ()
    if given or at_most_wrong is not None or sets is not None:
        validation = _validation(opened)
        decision = _decision(validation, *next(iter(given.items()))) if given else None
        validation = replace(validation, decision=decision, abstention=None)
        policy = replace(
            policy, decision=decision,
            abstention=None if at_most_wrong is None
            else choose_abstention(validation, at_most_wrong, sure=sure),
            sets=None if sets is None else choose_sets(validation, sets),
        )  # fmt: skip
        notes = tuple(_notes(policy, validation))
    changed, notes = _put_in_force(opened, policy, notes, progress)
    if isinstance(run, Run):
        run.reread()  # the object that was given answers by the new rule, too
    return _found(changed, notes)


def _wish(name: str, wish: ClassWish) -> tuple[str, float]:
    """A class and a number, from either way to give them."""
    if not isinstance(wish, str):
        return wish
    label, equals, text = wish.rpartition("=")
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if (
        not equals
        or not label
        or not number > 0
        or number == float("inf")
        or (name != "cost" and number > 1)
    ):
        example = "defective=5" if name == "cost" else "defective=0.95"
        what = "a number above 0" if name == "cost" else "a share above 0, up to 1"
        raise DataError(
            f"--{name} takes a class and {what}, such as {example}; received '{shown(wish)}'."
        )
    return label, number


def _validation(run: Run) -> Predictions:
    found = run.scored_predictions("validation") if "validation" in run.parts else None
    if found is None or not found.labelled.any():
        raise RunError(
            f"{run.path} has no validation images to decide on; train with some, by --validation."
        )
    return found


def _decision(validation: Predictions, name: str, wish: tuple[str, float]) -> Decision:
    positive, number = wish
    if name == "cost":
        return choose_decision(validation, positive, cost_miss=number)
    known = validation.select(validation.labelled)
    require_choosable(known.labels, known.classes, positive)
    wanted = Wish(precision=number) if name == "precision" else Wish(recall=number)
    threshold = choose_threshold(validation, positive, wanted)
    if threshold is None:
        raise DataError(
            f"No threshold has {wanted} for '{shown(positive)}' on the {len(known):,} validation "
            "images; ask for less, or train a better classifier."
        )
    return Decision(
        positive, threshold, images=len(known), wish="precision" if name == "precision" else
        "recall", wished=number,
    )  # fmt: skip


def _notes(policy: Policy, validation: Predictions) -> Iterator[str]:
    """What keeps a promise from meaning what it seems to."""
    promised = policy.abstention is not None or policy.sets is not None
    if promised and validation.groups is not None:
        groups, images = len(np.unique(validation.groups)), len(validation)
        if groups < images:
            yield (
                f"The {images:,} validation images are {groups:,} groups that belong together, and "
                "the promise counts every image by itself: it is less sure than it says."
            )
    if policy.decision is not None and policy.decision.wish != "cost":
        yield (
            f"The {policy.decision.wish} is that of the validation images, which chose the "
            "threshold; expect a little less of others."
        )


def _put_in_force(
    run: Run, policy: Policy, notes: tuple[str, ...], progress: Progress
) -> tuple[Run, tuple[str, ...]]:
    """Store a policy, and write anew what follows from it.

    A kill on the way leaves a run that can be used, with the new policy; deciding again mends
    what was not yet written.
    """
    from tellapart.evaluation.leaks import metrics_of
    from tellapart.evaluation.metric_table import Metrics, metrics_to_json

    decision = policy.decision.to_dict() if policy.decision is not None else None
    changed = {f"predictions/{part}.csv" for part in run.parts} | {"metrics.json"}
    # Also where a kill came between the rule and what follows from it.
    stale = run.decision != policy.decision or not changed <= run.info.files.keys()
    kept = {name: digest for name, digest in run.info.files.items()
            if not (stale and name in changed)}  # fmt: skip
    run = run.update(decision=decision, policy=policy.extras_to_dict(), files=kept)
    if stale:
        metrics: dict[str, Metrics] = {}
        for part in sorted(run.parts, key=("train", "validation", "test").index):
            found = run.predictions(part)
            found.save(run.predictions_file(part))
            metrics |= metrics_of(
                found, run.leaked(part), keep_leaks=run.recipe.data.keep_leaks,
                seed=run.recipe.seed,
            )  # fmt: skip
        write_json(run.path / "metrics.json", metrics_to_json(metrics))
        digests = {name: digest for name, digest in run.digests().items() if name in changed}
        run = run.update(files={**kept, **digests})
    return run, (*notes, *_rewrite_report(run, progress))


def _rewrite_report(run: Run, progress: Progress) -> tuple[str, ...]:
    """The page of the run, by what is in force now; or why it stays as it was."""
    from tellapart.verbs.write_report import write_report

    try:
        write_report(run, progress=progress)
    except TellapartError as error:
        return (f"report.html still shows the answers before: {error}",)
    return ()


def _found(run: Run, notes: tuple[str, ...]) -> Decided:
    answered: dict[str, Answered] = {}
    sets: dict[str, SetsMeasured] = {}
    for part in run.parts:
        if part in ("validation", "test"):
            predictions = run.scored_predictions(part)
            if (found := measure_answered(predictions)) is not None:
                answered[part] = found
            if run.policy.sets is not None:
                sets[part] = measure_sets(predictions, run.policy.sets)
    return Decided(run, run.policy, answered, sets, notes)
