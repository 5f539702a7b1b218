"""Over thousands of made results: no exception, no two sentences that cannot both be meant."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made import told
from random_evidence import draw

from tellapart.evaluation.curve_shape import shape_of
from tellapart.verdict.evidence import Evidence
from tellapart.verdict.reach import reach_verdict
from tellapart.verdict.verdict import Verdict

BAD = ("bad", "too_few")
#: (rule, judgements) and (rule, judgements) that never stand beside each other.
EXCLUSIVE = (
    # Without images, or without two classes, there is nothing to judge.
    *((("no_labels", BAD), (kind, ("good", *BAD))) for kind in (
        "few_images", "learned", "majority", "shift", "confidence", "temperature", "weak_class",
        "confusion", "no_mistakes", "classes_alike", "few_class_images", "no_test", "unlike")),
    *((("one_class", BAD), (kind, ("good", *BAD))) for kind in (
        "learned", "majority", "shift", "confidence", "weak_class", "confusion", "no_mistakes",
        "single_prediction", "never_predicted", "missing_classes")),
    # One answer for all is said once, not again in every other way.
    *((("single_prediction", BAD), (kind, ("good", *BAD))) for kind in (
        "learned", "majority", "never_predicted", "weak_class", "confusion", "confidence",
        "classes_alike", "no_mistakes")),
    # Where nothing was learned, no class is weaker than others and no confidence is praised.
    *((("learned", BAD), (kind, ("good", *BAD))) for kind in (
        "majority", "weak_class", "confusion", "confidence", "classes_alike", "sure_mistakes")),
    # It cannot both know its training images too well and not know them.
    (("underfitting", ("bad",)), ("fitting", ("good", *BAD))),
    # What leaked validation images make equal says nothing.
    (("validation_leak", ("bad",)), ("fitting", ("good", *BAD))),
    (("validation_leak", ("bad",)), ("shift", ("good", *BAD))),
    (("weak_class", BAD), ("classes_alike", ("good", *BAD))),
    (("never_predicted", BAD), ("classes_alike", ("good", *BAD))),
    (("no_mistakes", ("good",)), ("confusion", ("good", *BAD))),
    (("no_mistakes", ("good",)), ("weak_class", BAD)),
    (("no_mistakes", ("good",)), ("never_predicted", BAD)),
    (("no_mistakes", ("good",)), ("sure_mistakes", BAD)),
    (("interrupted", ("bad",)), ("epochs", ("good", *BAD))),
    (("no_test", ("bad",)), ("shift", ("good", *BAD))),
)  # fmt: skip


def thousands(count: int = 2000) -> list[tuple[Evidence, Verdict]]:
    random = np.random.default_rng(0)
    drawn = [draw(random) for _ in range(count)]
    return [(evidence, reach_verdict(evidence)) for evidence in drawn]


@pytest.fixture(scope="module")
def verdicts() -> list[tuple[Evidence, Verdict]]:
    return thousands()


def test_no_two_sentences_contradict_each_other(verdicts: Any) -> None:
    for _, verdict in verdicts:
        found = told(verdict)
        assert len(found) == len(verdict.reasons) + len(verdict.findings)
        for (one, these), (other, those) in EXCLUSIVE:
            if one in found and other in found:
                beside = found[one].judgement in these and found[other].judgement in those
                assert not beside, (found[one].sentence, found[other].sentence)


def test_every_pair_and_every_rule_has_been_tried(verdicts: Any) -> None:
    """The draw reaches every rule, so that the test above means something."""
    from tellapart.verdict.rules import RULES

    said = {kind for _, verdict in verdicts for kind in told(verdict)}
    assert said >= {rule.key for rule in RULES} - {"rate_steps"}
    lights = [verdict.light for _, verdict in verdicts]
    assert min(lights.count("red"), lights.count("yellow"), lights.count("green")) > 50


def test_a_red_light_has_a_reason_what_remains_and_no_praise(verdicts: Any) -> None:
    for _, verdict in verdicts:
        assert verdict.reasons and verdict.answer
        assert bool(verdict.remains) == (verdict.light == "red")
        judgements = {c.judgement for c in told(verdict).values()}
        if verdict.light == "red":
            assert "good" not in judgements and verdict.answer.startswith("No: ")
        if verdict.light == "green":
            assert {c.judgement for c in verdict.reasons} == {"good"}
        weights = [c.weight for c in verdict.reasons]
        assert weights == sorted(weights, reverse=True)


def test_no_advice_that_the_run_already_follows(verdicts: Any) -> None:
    for evidence, verdict in verdicts:
        kinds = {action.kind for action in verdict.actions}
        training = evidence.training
        assert len(verdict.actions) <= 4
        assert not (training.pretrained and "pretrained" in kinds)
        assert not (not training.frozen and "fine_tune" in kinds)
        assert not (training.augmented and "augment" in kinds)
        assert not (training.frozen and "freeze" in kinds)
        assert not (training.balanced and "balance" in kinds)
        if "more_epochs" in kinds:
            assert not training.ended_by and shape_of(training.history).kind == "falling"
        assert bool(training.interruption and evidence.own and evidence.origin) == (
            "finish" in kinds
        )


def test_every_sentence_is_one_that_can_be_read(verdicts: Any) -> None:
    for _, verdict in verdicts:
        texts = [c.sentence for c in told(verdict).values()]
        texts += [c.sentence for c in verdict.classes] + [a.sentence for a in verdict.actions]
        for text in [*texts, verdict.answer, *filter(None, [verdict.remains])]:
            assert text.endswith(".") and "  " not in text and ".." not in text, text
            assert not re.search(r"\bnan\b|None(?! of the \d)", text), text
            assert not re.search(r"\b1 (test|validation|training) images", text), text
            assert not re.search(r"\(\)|-0\.0| 1 images| 1 points\b|, ,", text), text
            assert not re.search(r"(?<!% of )\b1 (\w+ )?image (are|were)\b", text), text


def test_every_command_is_one_that_the_command_line_takes(verdicts: Any) -> None:
    """Each is read by the real parser, with the verbs themselves left out."""
    import typer

    from tellapart.cli import app

    group: Any = typer.main.get_command(app)
    commands = {a.command for _, v in verdicts for a in v.actions if a.command}
    assert len(commands) > 50
    kinds = set()
    for command in commands:
        name, verb, *words = shlex.split(command)
        assert name == "tellapart"
        kinds.add((verb, *(w for w in words if w.startswith("--"))))
        context = group.commands[verb].make_context(verb, words)
        assert "/d" in str(context.params.get("folder")) or context.params.get("resume")
    assert len(kinds) >= 8
