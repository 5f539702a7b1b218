"""The paired test and its interval: known values, groups, and that they never disagree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binomtest, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tellapart.comparison.differences import (
    difference_of,
    holm,
    holm_levels,
    joined_groups,
    mcnemar_exact,
    score_interval,
    sign_flip_exact,
)
from tellapart.comparison.paired import compare_predictions
from tellapart.evaluation.image_groups import image_groups
from tellapart.evaluation.intervals import Z
from tellapart.evaluation.predictions import Predictions


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 9), (5, 5), (12, 30), (700, 620)])
def test_mcnemar_is_statsmodels(first: int, second: int) -> None:
    expected = mcnemar([[10, first], [second, 10]], exact=True).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_thousands_is_the_binomial_test() -> None:
    assert mcnemar_exact(1500, 1700) == pytest.approx(binomtest(1500, 3200).pvalue, rel=1e-6)


def test_holm_is_statsmodels() -> None:
    p_values = [0.04, 0.001, 0.3, 0.012, 0.04]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_levels_are_those_at_which_holm_rejects() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        p_values = (random.random(random.integers(1, 8)) ** 4).tolist()
        by_levels = [p < level for p, level in zip(p_values, holm_levels(p_values), strict=True)]
        assert by_levels == multipletests(p_values, 0.05, "holm")[0].tolist()


def test_sign_flips_are_all_signs_counted() -> None:
    sums = np.array([3, -1, 2, 0, 4, 1])
    signs = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
    expected = (np.abs(signs @ sums) >= abs(sums.sum())).mean()
    assert sign_flip_exact(sums) == pytest.approx(expected)


def test_sign_flips_of_single_images_are_mcnemars_test() -> None:
    sums = np.repeat([1, -1, 0], [30, 12, 50])
    assert sign_flip_exact(sums) == pytest.approx(mcnemar_exact(30, 12))


def test_very_many_groups_are_taken_as_normal() -> None:
    sums = np.repeat([3, -3], [10_300, 10_000])
    expected = binomtest(10_000, 20_300).pvalue
    assert sign_flip_exact(sums) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("ahead", "behind", "images"), [(12, 5, 90), (30, 2, 60), (0, 3, 200)])
def test_score_interval_by_constrained_likelihood(ahead: int, behind: int, images: int) -> None:
    """Tango's limits, with the likelihood maximised by a search instead of his formula."""

    def score(difference: float) -> float:
        def loss(share: float) -> float:  # share: only the second right
            counts = (ahead, behind, images - ahead - behind)
            shares = (share + difference, share, 1.0 - 2.0 * share - difference)
            return -sum(n * np.log(max(p, 1e-300)) for n, p in zip(counts, shares, strict=True))

        lowest, highest = max(0.0, -difference), (1.0 - difference) / 2.0
        share = minimize_scalar(
            loss, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
        ).x
        variance = (2.0 * share + difference - difference**2) / images
        return ((ahead - behind) / images - difference) / np.sqrt(variance)

    value = (ahead - behind) / images
    low, high = score_interval(ahead, behind, images, Z)
    expected = [
        brentq(lambda d: score(d) - Z, -0.99, value - 1e-6),
        brentq(lambda d: score(d) + Z, value + 1e-6, 0.99),
    ]
    assert (low, high) == pytest.approx(expected, abs=1e-4)


def test_runs_that_never_differ_are_known_as_well_as_no_success_is() -> None:
    low, high = score_interval(0, 0, 100, Z)
    assert (low, high) == pytest.approx((-(Z**2) / (100 + Z**2), Z**2 / (100 + Z**2)))


def test_score_intervals_cover_the_truth() -> None:
    random, inside = np.random.default_rng(1), 0
    for _ in range(2000):
        draw = random.random(400)
        one, two = draw < 0.90, (draw < 0.80) | (draw > 0.94)  # 0.90 against 0.86
        ahead, behind = (one & ~two).sum(), (two & ~one).sum()
        low, high = score_interval(ahead, behind, 400, Z)
        inside += low <= 0.04 <= high
    assert 0.93 <= inside / 2000 <= 0.97


def _runs(
    random: np.random.Generator, gaps: tuple[float, ...], group: int
) -> dict[str, Predictions]:
    """Runs of accuracy 0.85 and less; images of a group share most of what makes them hard."""
    images, count = 240, 240 // group
    common = random.normal(size=count).repeat(group)
    runs = {}
    for number, gap in enumerate(gaps):
        own = random.normal(size=(2, count))
        hard = 0.6 * common + 0.6 * own[0].repeat(group) + 0.53 * random.normal(size=images)
        right = hard < norm.ppf(0.85 - gap)
        rows = np.where(right[:, None], [[0.9, 0.1]], [[0.2, 0.8]])
        runs[f"run{number}"] = Predictions(
            "test",
            ("a", "b"),
            tuple(map(str, range(images))),
            np.zeros(images, np.int64),
            rows,
            groups=np.arange(count).repeat(group) if group > 1 else None,
        )
    return runs


@pytest.mark.parametrize("group", [1, 6])
def test_the_sentence_and_the_interval_never_disagree(group: int) -> None:
    """Of four runs, equal or not: "may be chance" stands beside an interval with 0, and never
    without; and of equal runs hardly ever is one called better."""
    random = np.random.default_rng(5)
    false_alarms, reals = 0, 0
    for trial in range(100):
        equal = trial < 60
        compared = compare_predictions(
            _runs(random, (0.0,) * 4 if equal else (0.0, 0.0, 0.12, 0.25), group)
        )
        for pair in compared.pairs:
            _, low, high = pair.difference.measured()
            assert pair.real == (not low <= 0.0 <= high)
            assert pair.real == (pair.p_corrected < 0.05)
            reals += pair.real
        if equal:
            false_alarms += any(pair.real for pair in compared.pairs)
    assert false_alarms <= 5  # 60 trials at 5 % in the whole comparison: 3 are expected
    assert reals > 60


def test_groups_make_a_difference_less_sure() -> None:
    """Six images of one group that one run alone gets right are one piece of evidence."""
    first = np.ones(120, bool)
    second = first.copy()
    second[:12] = False
    groups = image_groups(np.arange(120) // 6)
    alone, grouped = difference_of(first, second), difference_of(first, second, groups)
    assert alone.p_value < 0.001
    assert grouped.p_value == pytest.approx(0.5)  # both of two groups: 2 / 2^2
    assert grouped.test == "sign-flip test of 20 groups"
    _, low, high = grouped.number(0.05, real=False).measured()
    assert low <= 0.0 < high and grouped.number(0.05, False).method == "score, grouped images"


def test_grouped_tests_hold_their_level_and_others_do_not() -> None:
    random = np.random.default_rng(3)
    with_groups, without, inside = 0, 0, 0
    for _ in range(600):
        runs = _runs(random, (0.0, 0.0), 6)
        one, two = (run.correct for run in runs.values())
        groups = image_groups(runs["run0"].groups)
        found = difference_of(one, two, groups)
        with_groups += found.p_value < 0.05
        without += difference_of(one, two).p_value < 0.05
        _, low, high = found.number(0.05, found.p_value < 0.05).measured()
        inside += low <= 0.0 <= high
    assert with_groups / 600 <= 0.05 < 0.10 < without / 600
    assert inside / 600 >= 0.95


def test_grouped_intervals_cover_a_difference() -> None:
    random, inside = np.random.default_rng(4), 0
    for _ in range(600):
        runs = _runs(random, (0.0, 0.1), 6)
        one, two = (run.correct for run in runs.values())
        found = difference_of(one, two, image_groups(runs["run0"].groups))
        _, low, high = found.number(0.05, found.p_value < 0.05).measured()
        inside += low <= 0.1 <= high
    assert 0.93 <= inside / 600 <= 0.985


def test_groupings_of_several_runs_are_joined() -> None:
    joined = joined_groups([np.array([5, 5, 1, 2, -1, -1]), None, np.array([0, 1, 1, 3, 4, 5])])
    assert joined is not None
    assert joined[0] == joined[1] == joined[2]
    assert len(set(joined.tolist())) == 4
    assert joined_groups([None, None]) is None


# --- by hand ------------------------------------------------------------------------------------


def test_levels_by_hand() -> None:
    """0.001 and 0.02 lie below 0.05 / 3 and 0.05 / 2, 0.2 not below 0.05; where the smallest is
    not below its level, all stand at that."""
    assert holm_levels([0.2, 0.001, 0.02]) == pytest.approx([0.05, 0.05 / 3, 0.05 / 2])
    assert holm_levels([0.04, 0.03, 0.02]) == pytest.approx([0.05 / 3] * 3)
    assert holm_levels([0.05]) == [0.05] and holm_levels([]) == holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_what_two_runs_differ_in() -> None:
    first, second = np.array([1, 1, 1, 0, 0, 1], bool), np.array([0, 0, 1, 1, 0, 1], bool)
    found = difference_of(first, second)
    assert (found.ahead, found.behind, found.images, found.effect) == (2, 1, 6, 1.0)
    assert (found.value, found.p_value) == (pytest.approx(1 / 6), 1.0)
    assert found.test == "McNemar's exact test"
    number = found.number(0.05, real=False)
    assert number.method == "score" and number.value == found.value
    assert number.measured()[1:] == pytest.approx(score_interval(2, 1, 6, Z))
    wide = found.number(0.01, real=False).measured()
    assert wide[1] < number.measured()[1] and wide[2] > number.measured()[2]


def test_equal_runs_and_runs_that_differ_both_ways_equally_are_no_evidence() -> None:
    same = difference_of(np.array([True, False]), np.array([True, False]))
    assert (same.p_value, same.value) == (1.0, 0.0)
    swapped = difference_of(np.array([True, False]), np.array([False, True]))
    assert (swapped.p_value, swapped.value) == (1.0, 0.0)


def test_the_p_value_is_never_below_that_of_the_interval() -> None:
    """Nine against none: exact 2 / 2^9 = 0.0039, the score test erfc(3 / sqrt 2) = 0.0027."""
    first = np.arange(50) < 9
    assert difference_of(first, np.zeros(50, bool)).p_value == pytest.approx(2 / 512)
    many = np.arange(4000) < 2000
    second = ~many & (np.arange(4000) < 3800)  # 2000 against 1800
    score = 2 * norm.sf(200 / np.sqrt(3800))
    assert difference_of(many, second).p_value >= score


def test_a_real_difference_keeps_its_interval_and_one_that_is_not_reaches_0() -> None:
    found = difference_of(np.arange(50) < 6, np.zeros(50, bool))  # exact 0.031, score 0.014
    _, low, high = found.number(0.02, real=False).measured()
    raw = score_interval(6, 0, 50, norm.isf(0.01))
    assert raw[0] > 0.0 and (low, high) == (0.0, pytest.approx(raw[1]))
    assert found.number(0.02, real=True).measured()[1] == pytest.approx(raw[0])
    behind = difference_of(np.zeros(50, bool), np.arange(50) < 6)
    _, low, high = behind.number(0.02, real=False).measured()
    assert (low, high) == (pytest.approx(-raw[1]), 0.0)


def test_an_interval_with_groups_is_that_of_fewer_images() -> None:
    first, second = np.ones(60, bool), np.arange(60) >= 12
    groups = image_groups(np.arange(60) // 3)
    found = difference_of(first, second, groups)
    effect = groups.design_effect(first.astype(float) - second)
    assert found.effect == effect > 2
    expected = score_interval(12 / effect, 0, 60 / effect, Z)
    assert found.number(0.05, real=True).measured()[1:] == pytest.approx(expected)


def test_whole_numbers_and_logarithms_meet_at_a_thousand_trials() -> None:
    for first, second in ((470, 530), (470, 531), (0, 1001), (1001, 0)):
        expected = binomtest(first, first + second).pvalue
        assert mcnemar_exact(first, second) == pytest.approx(expected, rel=1e-8)


def test_all_images_differ_or_none() -> None:
    """All right against all wrong: only a difference near 1 fits; and the other way round."""
    low, high = score_interval(20, 0, 20, Z)
    assert high == 1.0 and low == pytest.approx((20 - Z**2) / (20 + Z**2), abs=1e-6)
    assert score_interval(0, 20, 20, Z) == (pytest.approx(-high), pytest.approx(-low))
    few = score_interval(0.5, 0.25, 1.0, Z)  # fewer than an image each, as groups make it
    assert -1.0 < few[0] < 0.25 < few[1] < 1.0


def test_groupings_begin_at_any_number() -> None:
    joined = joined_groups([np.array([0, 0, 1, 1, -1])])
    assert joined.tolist() == [0, 0, 2, 2, 4]
    joined = joined_groups([np.array([9, -1, 9]), np.array([-1, 4, 4])])
    assert len(set(joined.tolist())) == 1
    chain = joined_groups([np.array([0, 0, 1, 1, 2, 2]), np.array([5, 6, 6, 7, 7, 8])])
    assert chain.tolist() == [0] * 6
    assert joined_groups([np.zeros(0, np.int64)]).tolist() == []
