"""The permutation test: its level, what it notices, and what is no evidence for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import combine_pvalues, mannwhitneyu, ttest_ind

from tellapart.monitoring.two_sample import (
    apart,
    directions,
    draw,
    further_out,
    other_shares,
    p_values,
    ranks,
    tail_ranks,
    together,
    told_apart,
)


def one_kind(number: int) -> np.ndarray:
    return np.zeros(number, dtype=np.int64)


def test_draws_keep_how_many_of_each_stratum_a_set_has() -> None:
    strata = np.repeat([0, 1, 0, 1], [30, 10, 20, 40])  # 40 of the first set, 60 of the other
    draws = draw(40, strata, permutations=50)
    assert draws.asked.shape == (51, 100) and draws.others == 60
    assert (draws.asked[:, strata == 0].sum(axis=1) == 30).all()
    assert (draws.asked[:, strata == 1].sum(axis=1) == 10).all()
    assert (draws.asked[0] == np.repeat([1, 0], [40, 60])).all()
    assert len(np.unique(draws.asked, axis=0)) == 51  # each otherwise


def test_small_strata_become_one() -> None:
    strata = np.array([0] * 20 + [1] * 2 + [2] * 3 + [0] * 20 + [1] * 3 + [2] * 2)
    merged = draw(25, strata, permutations=1).strata
    assert set(merged[strata == 0]) == {0} and set(merged[strata > 0]) == {-1}


def test_differences_are_those_of_the_means() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 3)).astype(np.float32)
    draws = draw(20, one_kind(50), permutations=9)
    found = draws.differences(values)
    for row, asked in zip(found, draws.asked > 0, strict=True):
        assert row == pytest.approx(values[asked].mean(axis=0) - values[~asked].mean(axis=0),
                                    abs=1e-5)  # fmt: skip


def test_p_is_the_share_of_draws_that_are_as_large() -> None:
    assert p_values(np.array([3.0, 1.0, 5.0, 3.0], np.float32)).tolist() == [0.75, 1.0, 0.25, 0.75]


def test_p_agrees_with_scipy() -> None:
    """Rank sums and squared differences of means against SciPy's tests of the same."""
    random = np.random.default_rng(3)
    ours, theirs = random.normal(0.3, 1, 60), random.normal(0, 1, 80)
    both = np.concatenate([ours, theirs])
    draws = draw(60, one_kind(140), permutations=9999, seed=1)
    of_ranks = p_values(draws.differences(ranks(both))[:, 0])[0]
    exact = mannwhitneyu(ours, theirs, alternative="greater").pvalue
    assert of_ranks == pytest.approx(exact, abs=0.006)
    of_means = p_values(draws.differences(both.astype(np.float32)[:, None])[:, 0] ** 2)[0]
    assert of_means == pytest.approx(ttest_ind(ours, theirs).pvalue, abs=0.006)


def test_together_is_fishers_where_tests_know_nothing_of_each_other() -> None:
    random = np.random.default_rng(5)
    statistics = random.normal(size=(3, 20_000)).astype(np.float32)
    statistics[:, 0] = [1.5, 0.3, 1.1]
    each = [p_values(row)[0] for row in statistics]
    assert together(*statistics) == pytest.approx(
        combine_pvalues(each, method="fisher").pvalue, abs=0.01
    )
    # Three times the same is no more than once.
    once = statistics[0]
    assert together(once, once, once) == pytest.approx(each[0], abs=1e-3)


def test_tail_ranks_are_savages_scores() -> None:
    """Close to the expected order statistics of the exponential distribution, 1/n + ... + 1/i."""
    weights = np.sort(tail_ranks(np.arange(200.0))[:, 0])
    expected = np.cumsum(1 / np.arange(200, 0, -1))
    assert np.abs(weights[:150] - expected[:150]).max() < 0.02
    assert np.corrcoef(weights, expected)[0, 1] > 0.99


def test_a_few_far_images_are_noticed_before_a_test_of_plain_ranks_does() -> None:
    random = np.random.default_rng(0)
    known = random.normal(size=200)
    asked = np.concatenate([random.normal(size=88), random.normal(8, 1, 12)])
    draws = draw(100, one_kind(300))
    p = p_values(further_out(draws, np.concatenate([asked, known])))[0]
    assert p < 0.01
    assert p < mannwhitneyu(asked, known, alternative="greater").pvalue / 3
    nearer = np.concatenate([asked - 3, known])  # not further out: no alarm
    nearer[88:100] = -5
    assert p_values(further_out(draws, nearer))[0] > 0.5


def test_other_shares_are_noticed_and_are_no_evidence_within_strata() -> None:
    random = np.random.default_rng(0)
    kinds = np.concatenate([random.permutation([0] * 80 + [1] * 20), [0, 1] * 50])
    features = (kinds[:, None] * 3 + random.normal(size=(200, 10))).astype(np.float32)
    one_hot = np.eye(3, dtype=np.float32)[kinds]  # a third class that none of them is
    freely, within = draw(100, one_kind(200)), draw(100, kinds)
    assert p_values(other_shares(freely, one_hot))[0] < 0.01
    assert p_values(apart(freely, directions(freely, features)))[0] < 0.01
    assert p_values(apart(within, directions(within, features)))[0] > 0.05


def test_directions_have_variance_one_and_are_fewer_than_images_allow() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(80, 100)).astype(np.float32) * np.arange(1, 101)
    draws = draw(40, one_kind(80), permutations=1)
    found = directions(draws, features)
    assert found.shape == (80, 20)
    assert np.cov(found.T, bias=True) == pytest.approx(np.eye(20), abs=1e-3)
    same = np.ones((80, 7), np.float32)  # nothing differs at all
    assert np.isfinite(directions(draws, same)).all()


def test_images_are_told_apart_only_where_they_differ() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 30)).astype(np.float32)
    draws = draw(100, one_kind(200), permutations=1)
    assert abs(told_apart(draws, features)[:100].mean() - told_apart(draws, features)[100:].mean()
               ) < 0.3  # fmt: skip
    features[:20, 4] += 6
    scores = told_apart(draws, features)
    assert set(np.argsort(-scores)[:20]) == set(range(20))


def test_false_alarms_come_as_often_as_the_level_says() -> None:
    """200 pairs of sets of one kind: about 5 % below 0.05, by each statistic and by all."""
    random = np.random.default_rng(11)
    found = []
    for number in range(200):
        looks = random.standard_t(3, size=(70, 6)).astype(np.float32)
        kinds = (looks[:, 0] > 0).astype(int)
        draws = draw(30, kinds * 0, permutations=99, seed=number)
        statistics = (
            further_out(draws, np.linalg.norm(looks, axis=1).astype(np.float64)),
            apart(draws, directions(draws, looks)),
            other_shares(draws, np.eye(2, dtype=np.float32)[kinds]),
        )
        within = draw(30, kinds, permutations=99, seed=number)
        found.append([
            *(p_values(each)[0] for each in statistics), together(*statistics),
            p_values(apart(within, directions(within, looks)))[0],
        ])  # fmt: skip
    share = (np.array(found) <= 0.05).mean(axis=0)
    assert (share < 0.05 + 3 * 0.0154).all(), share  # three standard errors of 200
    assert (share[[0, 1, 3, 4]] > 0.05 - 3 * 0.0154).all(), share  # shares are coarse: below
