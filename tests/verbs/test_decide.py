"""``tellapart decide``: chosen on validation, stored in the run, and obeyed by what answers."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from trained import quick_run

import tellapart as ta
from tellapart.cli import app
from tellapart.errors import DataError, RunError
from tellapart.run import Run

PARTS = {"train": 12, "validation": 40, "test": 8}


@pytest.fixture(scope="module")
def photos(image_folder: Callable[..., Path]) -> Path:
    return image_folder(classes=("blue", "green", "red"), parts=PARTS)


@pytest.fixture(scope="module")
def trained(photos: Path) -> Run:
    return quick_run(photos, photos.parent / "run", epochs=1)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    shutil.copytree(trained.path, tmp_path / "run")
    return ta.open_run(tmp_path / "run")


def test_the_object_that_was_given_answers_by_the_new_rule(run: Run, photos: Path) -> None:
    assert run.policy.decision is None and run.metrics and run.predictions("test").paths
    decided = ta.decide(run, recall=("green", 0.99))
    assert run.policy == decided.run.policy and run.policy.decision is not None
    assert run.predictions("test").decision == run.decision
    assert run.metrics == decided.run.metrics
    assert run.predict(photos / "test").policy.decision == run.decision


def test_a_wished_recall_is_in_force_everywhere(run: Run, photos: Path) -> None:
    before = run.metrics["test"]["confusion_matrix"]
    decided = ta.decide(run, recall=("green", 0.99))
    decision = decided.policy.decision
    validation = decided.run.predictions("validation")
    green = validation.labels == 1
    assert (validation.predicted[green] == 1).mean() >= 0.99
    assert (decision.positive, decision.wish, decision.wished) == ("green", "recall", 0.99)
    # Stored predictions, metrics and the page are those of the decision.
    again = ta.open_run(run.path)
    found = again.predictions("test")
    with again.predictions_file("test").open(newline="") as file:
        stored = [row["prediction"] for row in csv.DictReader(file)]
    assert stored == [found.classes[i] for i in found.predicted]
    matrix = again.metrics["test"]["confusion_matrix"]
    assert matrix == [[int(((found.labels == i) & (found.predicted == j)).sum())
                       for j in range(3)] for i in range(3)]  # fmt: skip
    page = again.report.read_text("utf-8")
    assert "recall at least 0.99 on validation" in page
    assert any("recall at least 0.99" in line for line in decided.lines())
    answers = again.predict(photos / "test")
    said = {a.path.removeprefix(f"{photos}/"): a.prediction for a in answers}
    assert [said[path] for path in found.paths] == stored
    # And taken back, all is as it was.
    back = ta.decide(run, likeliest=True)
    assert back.policy.rules == () and back.run.metrics["test"]["confusion_matrix"] == before
    assert "recall at least" not in back.run.report.read_text("utf-8")


def test_decide_shows_what_is_in_force_and_changes_nothing(run: Run) -> None:
    content = (run.path / "run.json").read_bytes()
    assert next(iter(ta.decide(run).lines())) == "decision    the likeliest class, of every image"
    assert (run.path / "run.json").read_bytes() == content


def confident(run: Run) -> Run:
    """A run whose stored validation says that its answers are mostly right."""
    random = np.random.default_rng(0)
    found = run.predictions("validation")
    right = np.eye(3)[found.labels] * 0.6
    values = right + random.dirichlet([1, 1, 1], len(found)) * 0.4
    replace(found, probabilities=values).save(run.predictions_file("validation"))
    return run.update(files=run.digests())


def test_uncertain_answers_and_sets(run: Run, photos: Path, tmp_path: Path) -> None:
    run = confident(run)
    decided = ta.decide(run, at_most_wrong=0.1, sets=0.9)
    assert decided.answered["validation"].wrong.value <= 0.1
    # Few of the test images are as confident as those: all that are not are left.
    abstention = replace(decided.policy.abstention, above=0.4)
    extras = replace(decided.policy, abstention=abstention).extras_to_dict()
    run = ta.open_run(run.path).update(policy=extras)
    answers = run.predict(photos / "test")
    unsure = [a for a in answers if a.uncertain]
    assert unsure and all(a.prediction == "uncertain" for a in unsure)
    for answer in answers:
        assert answer.uncertain == (max(answer.probabilities.values()) <= 0.4)
        least = decided.policy.sets.least
        expected = {c for c, p in answer.probabilities.items() if p >= least}
        assert set(answer.set) >= expected and len(answer.set) <= max(1, len(expected))
        assert answer.set[0] == max(answer.probabilities, key=answer.probabilities.__getitem__)
    rows = list(csv.DictReader(io.StringIO("\n".join(answers.in_format("csv")))))
    assert [row["uncertain"] == "true" for row in rows] == [a.uncertain for a in answers]
    assert [tuple(json.loads(row["set"])) for row in rows] == [a.set for a in answers]
    assert "at most 10 %" in rows[0]["decision"]
    assert f"uncertain (nearest: {'blue'}" in "\n".join(answers.lines()) or unsure
    for ending in (".csv", ".jsonl", ".parquet"):
        told = ta.predict(run, photos / "test", out=tmp_path / f"a{ending}")
        assert told.counts["uncertain"] == len(unsure)
        assert ta.predict(run, photos / "test", out=tmp_path / f"a{ending}").before == 24
    ta.predict(run, photos / "test", sort_into=tmp_path / "sorted")
    assert len(list((tmp_path / "sorted" / "uncertain").iterdir())) == len(unsure)
    # Another rule, another file.
    ta.decide(run, likeliest=True)
    with pytest.raises(DataError, match="of another model, or by other rules"):
        ta.predict(run, photos / "test", out=tmp_path / "a.csv")


def test_evaluate_and_the_page_follow_and_say_so(run: Run, photos: Path) -> None:
    run = confident(run)
    decided = ta.decide(run, at_most_wrong=0.1, sets=0.9)
    page = decided.run.report.read_text("utf-8")
    assert "Wrong of the answered" in page and "at most 10 % promised" in page
    assert "In the set" in page
    stored = ta.evaluate(run)
    lines = list(stored.lines())
    assert sum("at most 10 % promised" in line for line in lines) == 3  # of all parts
    assert any("of the answers are wrong (95 % sure)" in line for line in lines)
    assert stored.to_json()["policy"]["measured"]["test"]["answered"]["at_most_wrong"] == 0.1
    new = ta.evaluate(run, photos / "test")
    assert any("answered " in line and "90 %" not in line for line in new.lines())
    assert "Wrong of the answered" in new.report.read_text("utf-8")
    left = (~new.predictions[new.part].answered).sum()
    assert ("as uncertain instead, right or wrong" in new.report.read_text("utf-8")) == bool(left)


def test_unknown_without_being_asked(run: Run, photos: Path) -> None:
    assert all(a.unknown is None for a in run.predict(photos / "test"))
    decided = ta.decide(run, unknown=True)
    assert all(a.unknown is not None for a in decided.run.predict(photos / "test"))
    (run.unknown_file).unlink()
    run = decided.run.update(files={}, policy=None)
    with pytest.raises(RunError, match="cannot answer 'unknown'"):
        ta.decide(run, unknown=True)


@pytest.mark.parametrize(("wishes", "said"), [
    ({"precision": "green"}, "takes a class and a share above 0, up to 1, such as defective=0.95"),
    ({"precision": "green=2"}, "received 'green=2'"),
    ({"recall": "=0.5"}, "received '=0.5'"),
    ({"cost": "green=-1"}, "a number above 0, such as defective=5"),
    ({"cost": "green=inf"}, "received 'green=inf'"),
    ({"precision": "violet=0.9"}, "There is no class 'violet' to decide on"),
    ({"precision": "green=0.9", "recall": "green=0.9"}, "each choose the threshold; give one"),
    ({"at_most_wrong": 1.5}, "--at-most-wrong is a share above 0 and below 1, not 1.5"),
    ({"sets": 0.0}, "--sets is a share"),
    ({"at_most_wrong": 0.1, "sure": 95}, "--sure is a share"),
    ({"at_most_wrong": 0.001}, "cannot be promised from 120 validation images: it takes at least"),
    ({"sets": 0.9999}, "need at least 9,999 validation images; there are 120"),
    ({"sets": 0.9, "likeliest": True}, "takes all back, so no wish goes beside it"),
])  # fmt: skip
def test_what_cannot_be_wished_is_a_sentence_and_changes_nothing(
    trained: Run, wishes: dict[str, object], said: str
) -> None:
    before = {p: p.read_bytes() for p in trained.path.rglob("*") if p.is_file()}
    with pytest.raises(DataError) as raised:
        ta.decide(trained, **wishes)
    assert said in str(raised.value)
    assert {p: p.read_bytes() for p in trained.path.rglob("*") if p.is_file()} == before


def test_a_run_without_validation_cannot_decide(run: Run) -> None:
    run.predictions_file("validation").unlink()
    kept = {k: v for k, v in run.info.files.items() if k != "predictions/validation.csv"}
    with pytest.raises(RunError, match="has no validation images to decide on"):
        ta.decide(run.update(files=kept), sets=0.9)


def test_killed_on_the_way_the_run_still_opens(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the rule and the files that follow from it."""
    from tellapart.verbs import decide as module

    class Kill(BaseException):
        pass

    def kill(*arguments: object) -> None:
        raise Kill

    monkeypatch.setattr(module, "write_json", kill)
    with pytest.raises(Kill):
        ta.decide(run, recall="green=0.99")
    monkeypatch.undo()
    half = ta.open_run(run.path)
    assert half.decision.wished == 0.99 and half.predict(photos / "test")
    assert half.parts == run.parts and half.metrics
    mended = ta.decide(run, recall="green=0.99").run
    assert mended.metrics["test"]["confusion_matrix"] and "metrics.json" in mended.info.files


def test_images_that_are_gone_are_said_and_the_rule_is_in_force(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    photos = image_folder(classes=("blue", "green"), parts={**PARTS, "train": 6})
    made = quick_run(photos, tmp_path / "run", epochs=1)
    shutil.rmtree(photos)
    decided = ta.decide(made, cost="green=5")
    assert any("report.html still shows the answers before" in note for note in decided.notes)
    assert ta.open_run(made.path).decision.cost_miss == 5


def test_training_on_takes_back_what_was_decided(run: Run) -> None:
    ta.decide(run, sets=0.9)
    longer = ta.resume(run.path, extend=1)
    assert longer.policy.rules == ()
    assert any("decide again" in note for note in longer.info.notes)


def test_the_command(run: Run) -> None:
    words = ["decide", str(run.path), "--recall", "green=0.9", "--sets", "0.9", "--json"]
    done = CliRunner().invoke(app, words)
    content = json.loads(done.stdout)
    assert content["decision"]["wish"] == "recall" and content["policy"]["sets"]["coverage"] == 0.9
    assert len(content["rules"]) == 2
    shown = CliRunner().invoke(app, ["decide", str(run.path)])
    assert shown.exit_code == 0 and "decision    'green' from" in shown.stdout
