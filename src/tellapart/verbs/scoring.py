"""The last step of a training: score the test part, and write all that makes a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tellapart.data.split import Splits
from tellapart.data.table import PARTS
from tellapart.evaluation.predictions import Predictions
from tellapart.files import write_json, write_text
from tellapart.machine import describe_machine, peak_memory_bytes
from tellapart.prediction.classifier import save_classifier
from tellapart.recipe import Recipe
from tellapart.recipe_reading import recipe_to_yaml
from tellapart.run import Run, open_run
from tellapart.run_images import groups_of
from tellapart.run_info import COMPLETE, INTERRUPTED, Parameters, StoredVerdict, WeightsOrigin
from tellapart.stopwatch import Stopwatch
from tellapart.training.outcome import Task, Trained
from tellapart.training.scoring import Scored, predicted_by, recipe_of, score_part
from tellapart.training.unused import unused_settings

if TYPE_CHECKING:
    from tellapart.evaluation.metric_table import Metrics


@dataclass(frozen=True)
class HeldOutAnswers:
    """What stands in place of the test part of a run that was cross-validated.

    Attributes:
        predictions: of all images, each by a classifier that had not seen it.
        reference: the task whose train and validation images say what is unknown; None: nothing.
        carried_over: what the classifier took from the folds, in a sentence.
    """

    predictions: Predictions
    reference: Task | None
    carried_over: str


def publish(
    run: Run,
    task: Task,
    splits: Splits,
    trained: Trained,
    scored: Scored,
    watch: Stopwatch,
    held_out: HeldOutAnswers | None = None,
) -> Run:
    """Score train and test, learn what is unknown, and write model, numbers and report.

    The only step that looks at the test part, which is counted, and the only one that writes.

    Args:
        task: with its test part, or without, where it is not to be read yet.
        scored: what ``score_validation`` gave.
        held_out: of a cross-validation, with which the task has train images alone.
    """
    from tellapart.evaluation.leaks import leak_sentence, metrics_of
    from tellapart.evaluation.metric_table import metrics_to_json
    from tellapart.report.of_run import write_run_report
    from tellapart.training.remember import keep_seen, learn_known

    recipe = recipe_of(task, trained)
    predictions: dict[str, Predictions] = {}
    with watch.stage("Predict"):
        for part in (part for part in PARTS if part in task.rows):
            found = score_part(task, trained, scored, part)
            if found is not None:
                predictions[part] = found
    if held_out is not None:
        predictions["test"] = replace(held_out.predictions, decision=scored.decision)
    with watch.stage("Learn what is unknown"):
        reference = task if held_out is None else held_out.reference
        learnt = None
        if reference is not None:
            learnt = learn_known(
                reference.without_test(), trained, scored,
                held_out.predictions if held_out is not None else None,
                {image.path for image in run.images if image.group is not None},
            )  # fmt: skip
    with watch.stage("Save the model"):
        if trained.recipe is not None:
            write_text(run.path / "recipe.yaml", recipe_to_yaml(recipe))
        digest = save_classifier(run.model_file, trained.state, scored.description)
        if learnt is not None:
            learnt.unknown.save(run.unknown_file)
            learnt.known.save(run.known_file)
    with watch.stage("Measure"):
        notes = [*unused_settings(task.recipe), *trained.notes]
        notes += [held_out.carried_over] if held_out is not None else []
        metrics: dict[str, Metrics] = {}
        shown: dict[str, Predictions] = {}
        for part, p in predictions.items():
            p.save(run.predictions_file(part))
            p = replace(p, groups=groups_of(run.images, p.paths))
            leaked = {} if recipe.data.keep_leaks else run.leaked(part)
            shown[part] = p.select(np.array([path not in leaked for path in p.paths]))
            measured = metrics_of(
                p, run.leaked(part), keep_leaks=recipe.data.keep_leaks, seed=recipe.seed
            )
            metrics |= measured
            if sentence := leak_sentence(measured):
                notes.append(sentence)
                task.progress.note(sentence)
        write_json(run.path / "metrics.json", metrics_to_json(metrics))
    with watch.stage("Keep what was seen"):
        keep_seen(run, task.images, task.progress)
    if run.info.policy is not None:
        notes.append(
            "What 'tellapart decide' had put in force was chosen for the weights before; decide "
            "again."
        )
    run = run.update(
        policy=None,
        device=task.device,
        machine=describe_machine(task.device),
        parameters=Parameters(trained.total_parameters, trained.trainable_parameters),
        temperature=scored.description.temperature,
        decision=scored.decision.to_dict() if scored.decision is not None else None,
        facts=dict(trained.facts),
        notes=tuple(notes),
        stopped=trained.stopped.reason if trained.stopped else "",
        model_digest=digest,
        weights=_weights_of(run, recipe),
        files=run.digests(),
        test_evaluations=run.info.test_evaluations + ("test" in predictions),
        prediction=predicted_by(trained, scored.classifier),
    )
    run = run.update(verdict=_verdict_on(run, metrics, shown))
    with watch.stage("Write the report"):
        write_run_report(run, shown, task.images, splits, watch.rounded())
    return run.update(
        status=INTERRUPTED if trained.stopped is not None else COMPLETE,
        seconds=watch.rounded(),
        peak_memory_bytes=peak_memory_bytes(),
    )


def _verdict_on(
    run: Run, metrics: Mapping[str, Metrics], shown: Mapping[str, Predictions]
) -> StoredVerdict | None:
    """What the report says of the number; None where no image was held out."""
    from tellapart.verdict.of_run import evidence_of
    from tellapart.verdict.reach import reach_verdict

    evidence = evidence_of(run, metrics, shown)
    if evidence is None:
        return None
    found = reach_verdict(evidence)
    doubts = tuple(reason.sentence for reason in found.reasons if reason.judgement != "good")
    return StoredVerdict(found.light, found.answer, doubts)


def _weights_of(run: Run, recipe: Recipe) -> tuple[WeightsOrigin, ...]:
    """The chain of weights that led to this run's, the first ones first."""
    from tellapart.models.origin import weights_origins

    if run.info.parent:
        parent = open_run(run.info.parent)
        own = WeightsOrigin(parent.name, "", parent.source.display_name, "a run",
                            parent.info.model_digest)  # fmt: skip
        return (*parent.info.weights, own)
    return weights_origins(recipe.networks)
