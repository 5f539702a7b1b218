"""Abstaining and sets: what is promised is kept, against simulation and other people's code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from tellapart.errors import DataError
from tellapart.evaluation.abstaining import (
    STARTS,
    abstain_up_to,
    choose_abstention,
    fewest_images,
    measure_answered,
)
from tellapart.evaluation.abstention import Abstention
from tellapart.evaluation.class_sets import (
    ClassSets,
    choose_sets,
    least_probability,
    measure_sets,
)
from tellapart.evaluation.decision import Decision
from tellapart.evaluation.policy import Policy
from tellapart.evaluation.predictions import Predictions

CLASSES = ("a", "b", "c")


def drawn(images: int, seed: int, classes: int = 3, sharpness: float = 2.0) -> Predictions:
    """Images whose probabilities are right: the label is drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, sharpness, (images, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random(images)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    return Predictions("validation", CLASSES[:classes], tuple(map(str, range(images))),
                       np.minimum(labels, classes - 1), probabilities)  # fmt: skip


def test_by_hand_all_right_and_one_wrong() -> None:
    """With no mistake among n answers, at most r wrong is proven from (1 - r)^n on."""
    confidence = np.linspace(0.5, 1.0, 400)
    assert abstain_up_to(confidence, np.ones(400, dtype=bool), 0.02) == 0.0
    fewest = fewest_images(0.02)
    assert 0.98**fewest <= 0.05 / len(STARTS) < 0.98 ** (fewest - 1)
    assert abstain_up_to(confidence[:fewest], np.ones(fewest, dtype=bool), 0.02) == 0.0
    assert abstain_up_to(confidence[:200], np.ones(200, dtype=bool), 0.02) is None
    # The least confident tenth is all wrong: it is left out, and little else.
    correct = np.arange(400) >= 40
    above = abstain_up_to(confidence, correct, 0.02)
    given = confidence > above
    assert binom.cdf((given & ~correct).sum(), given.sum(), 0.02) <= 0.05 / len(STARTS)
    assert confidence[30] < above < confidence[60]


def test_equal_confidences_are_answered_together_or_not_at_all() -> None:
    confidence = np.repeat([0.9, 0.6], [300, 300])
    correct = np.repeat([True, False], [300, 300])
    assert abstain_up_to(confidence, correct, 0.02) == 0.6
    assert abstain_up_to(np.full(500, 0.7), np.ones(500, dtype=bool), 0.02) == 0.0
    assert abstain_up_to(np.full(500, 0.7), np.arange(500) % 2 == 0, 0.02) is None


@pytest.mark.parametrize(("at_most", "sharpness"), [(0.05, 6.0), (0.1, 4.0)])
def test_the_promise_holds_as_often_as_it_says(at_most: float, sharpness: float) -> None:
    """Over 400 validation sets; the true share of wrong answers is known, for the truth is."""
    whole = drawn(200_000, 1, sharpness=sharpness)
    truth = 1.0 - whole.confidence  # the chance that the likeliest class is wrong
    broken = chosen = 0
    for seed in range(400):
        known = drawn(500, 100 + seed, sharpness=sharpness)
        above = abstain_up_to(known.confidence, known.correct, at_most)
        if above is None:
            continue
        chosen += 1
        broken += truth[whole.confidence > above].mean() > at_most
    assert chosen > 300
    # 400 draws at 5 %: more than 32 broken ones come by chance once in a hundred times.
    assert broken <= 32


def test_what_cannot_be_promised_is_said() -> None:
    with pytest.raises(DataError, match=r"cannot be promised from 100 validation .* at least 217,"):
        choose_abstention(drawn(100, 0), 0.02)
    with pytest.raises(DataError, match=r"of the 100 most confident of 500 validation images \d+"):
        choose_abstention(drawn(500, 0, sharpness=0.3), 0.02)
    with pytest.raises(DataError, match=r"need at least 9 validation images; there are 8"):
        choose_sets(drawn(8, 0), 0.9)
    assert choose_sets(drawn(9, 0), 0.9).images == 9


def test_abstaining_is_counted_on_what_is_answered() -> None:
    known = drawn(2000, 3, sharpness=4.0)
    chosen = choose_abstention(known, 0.05)
    assert measure_answered(known) is None
    from dataclasses import replace

    found = measure_answered(replace(known, abstention=chosen))
    given = known.confidence > chosen.above
    assert found.share.value == given.mean() == chosen.answered < 1
    assert found.wrong.value == pytest.approx((given & ~known.correct).sum() / given.sum())
    assert "at most 5 % promised" in found.sentence


def test_sets_are_those_of_mapie() -> None:
    """The independent source: MAPIE's split conformal sets of the same probabilities (LAC)."""
    mapie = pytest.importorskip("mapie.classification")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(3)
        fitted_ = True

        def fit(self, X, y):  # type: ignore[no-untyped-def]
            return self

        def predict_proba(self, X):  # type: ignore[no-untyped-def]
            return X

        def predict(self, X):  # type: ignore[no-untyped-def]
            return X.argmax(axis=1)

    known, new = drawn(313, 5), drawn(500, 6)
    for coverage in (0.8, 0.9, 0.95):
        theirs = mapie.SplitConformalClassifier(
            Given(), confidence_level=coverage, prefit=True, conformity_score="lac"
        ).conformalize(known.probabilities, known.labels)
        expected = theirs.predict_set(new.probabilities)[1][:, :, 0]
        sets = choose_sets(known, coverage)
        ours = sets.members(new.probabilities, new.predicted)
        full = expected.any(axis=1)  # where theirs are empty, ours have the answer
        np.testing.assert_array_equal(ours[full], expected[full])
        assert (ours[~full].sum(axis=1) == 1).all()


def test_sets_hold_the_truth_on_average() -> None:
    new = drawn(20_000, 0)
    held = [measure_sets(new, choose_sets(drawn(99, seed), 0.9)).held.value
            for seed in range(1, 200)]  # fmt: skip
    assert np.mean(held) >= 0.9 - 2 * np.std(held) / math.sqrt(len(held))
    assert np.mean(held) < 0.93


def test_the_quantile_by_hand() -> None:
    true = np.array([0.9, 0.1, 0.5, 0.7, 0.3, 0.8, 0.6, 0.4, 0.2])
    assert least_probability(true, 0.9) == 0.1  # one of ten may miss
    assert least_probability(true, 0.8) == 0.2
    assert least_probability(true, 0.91) is None
    chosen = ClassSets(0.3, 0.9).members(np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]),
                                         np.array([0, 1]))  # fmt: skip
    assert chosen.tolist() == [[True, True, False], [False, True, True]]


def test_what_is_stored_comes_back() -> None:
    policy = Policy(
        Decision("a", 0.3, images=9, wish="recall", wished=0.9), Abstention(0.8, 0.02, images=7),
        ClassSets(0.1, 0.9, 7), True,
    )  # fmt: skip
    assert Policy.from_dict(Decision.from_dict(policy.decision.to_dict()),
                            policy.extras_to_dict()) == policy  # fmt: skip
    assert len(policy.rules) == 4 and Policy().rule == "" and Policy().extras_to_dict() is None
    assert "recall at least 0.9 on validation" in policy.rule
    for wrong in ({"abstention": {}}, {"sets": {"least": 2, "coverage": 0.9, "images": 1}}):
        with pytest.raises((KeyError, ValueError)):
            Policy.from_dict(None, wrong)
