from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom, chi2, t

from tellapart.evaluation.calibration import calibration_bins
from tellapart.evaluation.image_groups import image_groups
from tellapart.evaluation.intervals import (
    Z,
    calibration_limits,
    chi_squared,
    combined,
    mean_loss,
    named,
    prediction_interval,
    proportion,
    student_quantile,
    wilson,
    wilson_from_variance,
)
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.ranking import roc_auc
from tellapart.number import Number

SIMULATIONS = 600


def _numbers(content: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if isinstance(value, dict) and "method" in value:
            found[prefix + key] = value
        elif isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{key}.")
    return found


def coverage(made, simulations: int, names: tuple[str, ...] = (), **how: Any) -> dict[str, float]:
    """How often the truth, the value on very many images, lies inside each interval."""
    single = {key: value for key, value in how.items() if key not in ("images", "group_sizes")}
    single.pop("alike", None)
    classes = how.get("classes", 2)
    large = made(400_000 // classes, seed=99, **single)
    truth = _numbers(evaluate_predictions(large).to_json())
    inside = {name: 0 for name in names or truth if "class 1" in name or "per_class" not in name}
    given = dict.fromkeys(inside, 0)
    for seed in range(simulations):
        found = _numbers(evaluate_predictions(made(seed=seed, **how), seed=seed).to_json())
        for name in inside:
            low, high = found[name]["low"], found[name]["high"]
            if low is not None:  # no image of the rare class: no number
                inside[name] += low <= truth[name]["value"] <= high
                given[name] += 1
    assert min(given.values()) > 0.9 * simulations
    return {name: count / given[name] for name, count in inside.items()}


@pytest.mark.parametrize(("classes", "images"), [(2, 400), (5, 500)])
def test_95_percent_intervals_cover_the_truth(made, classes: int, images: int) -> None:
    """In 93 to 97 % of simulated test sets, the calibration error's in up to 99 %.

    Its lower limit is 0 where the classifier is well calibrated, so only the upper can fail.
    """
    found = coverage(
        made, SIMULATIONS, images=images, classes=classes, separation=1.8 if classes == 2 else 2.5
    )
    assert 0.95 <= found.pop("calibration_error") <= 0.99
    assert {name: share for name, share in found.items() if not 0.93 <= share <= 0.975} == {}


def test_calibration_limits_hold_where_confidence_is_right() -> None:
    """The hardest place: the true error is 0 and the measured one never is."""
    inside = 0
    for seed in range(SIMULATIONS):
        generator = np.random.default_rng(seed)
        confidence = generator.uniform(0.5, 1.0, 400)
        bins = calibration_bins(confidence, generator.random(400) < confidence)
        low, high = calibration_limits(bins.images, bins.right, bins.confidence, seed, 300)
        assert 0 <= low <= bins.error <= high
        inside += low == 0.0
    assert 0.93 <= inside / SIMULATIONS <= 0.97


def test_delong_variance_by_definition() -> None:
    """DeLong et al. 1988 with every pair compared, against ours from ranks."""
    generator = np.random.default_rng(3)
    truth = np.arange(60) < 25
    scores = np.round(generator.normal(size=60) + truth, 1)  # rounded: ties
    ours, influence = roc_auc(truth, scores)
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    variance = wins.mean(axis=1).var(ddof=1) / 25 + wins.mean(axis=0).var(ddof=1) / 35
    assert ours == pytest.approx(wins.mean())
    assert (influence**2).sum() == pytest.approx(variance)


def test_jackknife_agrees_with_a_plain_bootstrap(made) -> None:
    """Influences of average precision and macro F1 against resampling the images."""
    predictions = made(800, 4, separation=1.5)
    found = evaluate_predictions(predictions)
    generator = np.random.default_rng(0)
    resampled: dict[str, list[float]] = {"average_precision": [], "f1": []}
    for _ in range(300):
        rows = generator.integers(0, 800, 800)
        truth, scores = predictions.labels[rows] == 1, predictions.probabilities[rows, 1]
        from sklearn.metrics import average_precision_score, f1_score

        resampled["average_precision"].append(average_precision_score(truth, scores))
        resampled["f1"].append(
            f1_score(predictions.labels[rows], predictions.predicted[rows], average="macro")
        )
    for name, number in (
        ("average_precision", found.per_class["class 1"].average_precision),
        ("f1", found.macro.f1),
    ):
        low, high = np.quantile(resampled[name], (0.025, 0.975))
        assert number.high - number.low == pytest.approx(high - low, rel=0.15), name


# --- few images, rare classes -------------------------------------------------------------------


def test_intervals_cover_with_six_rare_images_at_1_to_50(made) -> None:
    names = ("macro.f1", "macro.precision", "macro.recall", "log_loss", "brier",
             "average_precision", "calibration_error")  # fmt: skip
    found = coverage(made, 400, names, images=300, shares=[50 / 51, 1 / 51], separation=2.5)
    assert {name: share for name, share in found.items() if not 0.93 <= share <= 0.99} == {}


def test_intervals_cover_with_thirty_images(made) -> None:
    """Also of a very accurate classifier, where nearly always every image is right."""
    names = ("macro.f1", "log_loss", "brier", "calibration_error", "average_precision")
    for separation, sharpness in ((1.8, 1.6), (3.0, 4.0), (3.5, 1.6)):
        found = coverage(made, 300, names, images=30, separation=separation, sharpness=sharpness)
        assert min(found.values()) >= 0.93, (separation, found)


@pytest.mark.parametrize("images", [20, 60])
def test_macro_f1_covers_with_one_to_three_images_a_class(made, images: int) -> None:
    found = coverage(made, 300, ("macro.f1", "macro.recall"), images=images, classes=20,
                     separation=3.0)  # fmt: skip
    assert {name: share for name, share in found.items() if not 0.92 <= share <= 0.985} == {}


def test_a_rare_class_that_is_all_right_is_not_certain(made) -> None:
    """294 and 6 images, all right: as uncertain as six images are."""
    predictions = made(300, separation=60)
    labels = (np.arange(300) >= 294).astype(np.int64)
    rows = np.where(labels[:, None] == np.arange(2), 0.99, 0.01)
    found = evaluate_predictions(replace(predictions, labels=labels, probabilities=rows))
    for number in (found.macro.f1, found.macro.recall, found.macro.precision):
        assert number.value == number.high == 1.0
        assert 0.7 < number.low < 0.9
    assert found.accuracy.low > 0.98


def test_rounding_neither_passes_1_nor_widens_an_interval() -> None:
    """Weights such as 7/30 + 9/30 + ... may come to a hair above or below 1."""
    random = np.random.default_rng(0)
    for _ in range(200):
        labels = random.integers(0, 5, 30)
        rows = np.where(labels[:, None] == np.arange(5), 0.96, 0.01)
        found = evaluate_predictions(
            Predictions("test", tuple("abcde"), tuple(map(str, range(30))), labels, rows)
        )
        for number in (*vars(found.weighted).values(), *vars(found.macro).values()):
            assert 0.4 < number.low < number.value == number.high == 1.0


def test_no_interval_where_a_class_with_images_is_never_predicted(made) -> None:
    predictions = made(60, 3)
    called = predictions.probabilities.copy()
    called[:, 2] = 0.0
    called /= called.sum(axis=1, keepdims=True)
    found = evaluate_predictions(replace(predictions, probabilities=called))
    for number in (found.macro.precision, found.weighted.precision):
        assert number.value is not None and number.low is None and number.method is None
        assert "no interval, for more images could add them" in number.note
    assert found.macro.f1.low is not None


def test_a_calibration_error_stays_within_0_and_1() -> None:
    """All sure and all wrong: the limit is 1, not above."""
    bins = calibration_bins(np.full(5, 0.999), np.zeros(5, bool))
    low, high = calibration_limits(bins.images, bins.right, bins.confidence, 0)
    assert 0.0 < low < bins.error <= high == 1.0


# --- groups -------------------------------------------------------------------------------------

GROUPED = ("accuracy", "macro.recall", "macro.f1", "weighted.f1", "roc_auc", "average_precision",
           "log_loss", "brier")  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "alike", "most"),
    [
        ([10] * 20, 1.0, 0.995),
        ([5] * 60, 0.5, 0.985),
        ([1, 2, 5, 12] * 15, 0.5, 0.985),
        ([1, 2, 3, 14] * 50, 0.2, 0.98),
    ],
)
def test_intervals_cover_where_images_come_in_groups(
    made, sizes: list[int], alike: float, most: float
) -> None:
    """Few groups give wide intervals rather than false ones."""
    found = coverage(made, 300, GROUPED, images=0, group_sizes=sizes, alike=alike, separation=1.8)
    assert {name: share for name, share in found.items() if not 0.92 <= share <= most} == {}


def test_images_in_groups_of_copies_count_once(made) -> None:
    """Each image ten times, in a group: an interval like that of the images alone, not a third."""
    single = made(60, 2, separation=1.5)
    ten = replace(
        single,
        paths=tuple(f"{path}-{i}" for path in single.paths for i in range(10)),
        labels=np.repeat(single.labels, 10),
        probabilities=np.repeat(single.probabilities, 10, axis=0),
        groups=np.repeat(np.arange(60), 10),
    )
    alone = evaluate_predictions(single)
    grouped, ignored = evaluate_predictions(ten), evaluate_predictions(replace(ten, groups=None))
    for name in ("accuracy", "roc_auc", "log_loss", "brier"):
        one, many, naive = (getattr(m, name) for m in (alone, grouped, ignored))
        assert many.value == pytest.approx(one.value)
        assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.15)
        assert naive.high - naive.low < 0.5 * (one.high - one.low)
        assert many.method == f"{one.method}, grouped images"


def test_groups_of_one_change_nothing(made) -> None:
    predictions = made(200, 3)
    alone = evaluate_predictions(predictions)
    assert evaluate_predictions(replace(predictions, groups=np.arange(200)[::-1])) == alone
    assert evaluate_predictions(replace(predictions, groups=np.full(200, -1))) == alone


def test_design_effect_by_hand() -> None:
    """Two groups of three: all right and all wrong; Kish's effect is the size of a group."""
    groups = image_groups(np.array([7, 7, 7, 4, 4, 4]))
    right = np.array([1.0, 1, 1, 0, 0, 0])
    # images: 6 * 0.25 = 1.5; groups: 1.5^2 + 1.5^2 = 4.5, times 2 / (2 - 1); 9 / 1.5 = 6.
    # Six images move the number, half an image's weight for the worst case of 3.
    expected = (6 * 6 + 0.5 * 3) / 6.5 * (12.7062 / Z) ** 2
    assert groups.design_effect(right) == pytest.approx(expected)
    assert groups.design_effect(np.ones(6)) == pytest.approx(3 * (12.7062 / Z) ** 2)
    assert groups.design_effect(right[:2], np.array([0, 5])) == 1.0


# --- what they are made of ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freedom", "known"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (19, 2.093), (100, 1.984)],
)
def test_student_quantile_is_that_of_printed_tables(freedom: float, known: float) -> None:
    assert student_quantile(freedom) == pytest.approx(known, abs=6e-4)


@pytest.mark.parametrize("freedom", [4.0, 10.0, 60.0])
def test_chi_squared_is_scipys(freedom: float) -> None:
    for z, share in ((-Z, 0.025), (Z, 0.975)):
        assert chi_squared(freedom, z) == pytest.approx(chi2.ppf(share, freedom), abs=0.05)


def test_loss_limits_are_the_exact_ones_of_a_count() -> None:
    """Losses of 0 and 1: the mid-p limits of a Poisson count lie between these chi squareds."""
    losses = np.zeros(10_000)
    losses[:20] = 1.0
    found = mean_loss(losses, 1.0, np.inf)
    low, high = (2 * 10_000 * limit for limit in (found.low, found.high))
    assert chi2.ppf(0.025, 40) < low < chi2.ppf(0.025, 42)
    assert chi2.ppf(0.975, 40) < high < chi2.ppf(0.975, 42)


def test_combined_limits_add_up_as_standard_errors_do() -> None:
    values, lows, highs = np.array([0.5, 0.7]), np.array([0.2, 0.3]), np.array([0.6, 0.9])
    weights = np.array([0.5, 0.5])
    low, high = combined(values, lows, highs, weights)
    assert low == pytest.approx(0.6 - 0.25) and high == pytest.approx(0.6 + np.sqrt(0.0125))
    low, high = combined(values, lows, highs, weights, np.ones((2, 2)))  # they err together
    assert (low, high) == pytest.approx((0.25, 0.75))


# --- the next images ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "images", "future"), [(90, 100, 100), (30, 30, 50), (0, 5, 3), (50, 100, 3000)]
)
def test_prediction_interval_is_scipys_beta_binomial(right: int, images: int, future: int) -> None:
    next_right = betabinom(future, right + 0.5, images - right + 0.5)
    expected = tuple(int(next_right.ppf(share)) for share in (0.025, 0.975))
    assert prediction_interval(right, images, future) == expected


def test_the_page_says_what_is_computed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-numbers-are-computed.md").read_text("utf-8")
    low, high = wilson(90, 100)
    of_100 = prediction_interval(90, 100, 100)
    assert f"lies between {100 * low:.1f} and {100 * high:.1f} %" in " ".join(page.split())
    assert f"{of_100[0]} to {of_100[1]} will be right" in " ".join(page.split())


def test_prediction_intervals_hold_for_the_next_images_and_those_of_the_accuracy_do_not() -> None:
    random = np.random.default_rng(0)
    inside, of_accuracy = 0, 0
    for right, following in random.binomial(100, 0.74, (2000, 2)):
        low, high = prediction_interval(int(right), 100, 100)
        inside += low <= following <= high
        low, high = wilson(right, 100)
        of_accuracy += low <= following / 100 <= high
    assert 0.94 <= inside / 2000 <= 0.98
    assert of_accuracy / 2000 < 0.87


# --- each by hand ---------------------------------------------------------------------------------


def test_wilson_at_the_ends_is_exact() -> None:
    low, high = wilson(0, 10)
    assert low == 0.0 and high == pytest.approx(Z**2 / (10 + Z**2))
    low, high = wilson(10, 10)
    assert high == 1.0 and low == pytest.approx(10 / (10 + Z**2))
    low, high = wilson(0.0, 0.5)  # fewer than one image: all is possible but the end
    assert low == 0.0 and high == pytest.approx(Z**2 / (0.5 + Z**2))


def test_a_share_by_hand() -> None:
    number = proportion(5, 10, "none")
    half = Z / (1 + Z * Z / 10) * np.sqrt(0.25 / 10 + Z * Z / 400)
    assert number.measured() == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    assert number.method == "wilson"
    doubled = proportion(10, 20, "none", 2.0)
    assert doubled.measured() == pytest.approx(number.measured())
    assert doubled.method == "wilson, grouped images"
    assert proportion(0, 0, "no image is a") == Number(None, reason="no image is a")


def test_a_number_of_known_variance_is_a_share_of_as_many_images() -> None:
    # 0.8 with a variance of 0.16 / 50: as 40 of 50.
    assert wilson_from_variance(0.8, 0.16 / 50, 7) == pytest.approx(wilson(40, 50))
    assert wilson_from_variance(0.8, 0.0, 7) == pytest.approx(wilson(5.6, 7))
    assert wilson_from_variance(1.0, 0.001, 7) == wilson(7, 7)
    assert wilson_from_variance(0.0, 0.001, 7) == wilson(0, 7)


def test_the_mean_of_a_loss_by_hand() -> None:
    """Losses 0, 0, 0, 2; a wrong image costs 3, so 3/4 a step: half of it is added to the mean.

    Mean 0.5 and 0.875; variance 0.75 / 4 + (3/4)^2 / 2.
    """
    losses = np.array([0.0, 0.0, 0.0, 2.0])
    centre, variance = 0.5 + 0.375, 0.75 / 4 + 0.5625 / 2
    freedom = 2 * centre**2 / variance
    far = t.ppf(0.975, 3)  # Student's, of one image fewer: it may be any loss
    low, high = (centre * chi_squared(freedom, z) / freedom for z in (-far, far))
    found = mean_loss(losses, 3.0, np.inf)
    assert found.measured() == pytest.approx((0.5, min(low, 0.5), high))
    assert found.method == "gamma"
    capped = mean_loss(losses, 3.0, 1.2)
    low = centre * chi_squared(freedom, -Z) / freedom
    assert capped.measured() == pytest.approx((0.5, min(low, 0.5), 1.2))
    # With groups of two that say the same: two images.
    half = mean_loss(np.array([0.0, 2.0]), 3.0, np.inf)
    double = mean_loss(np.array([0.0, 0.0, 2.0, 2.0]), 3.0, np.inf, 2.0)
    assert double.value == half.value and double.method == "gamma, grouped images"
    # A loss with a largest value is known by the normal quantile, and the same as of two images.
    half, double = (
        mean_loss(np.repeat([0.0, 2.0], each), 3.0, 2.0, float(each)) for each in (1, 2)
    )
    assert double.measured() == pytest.approx(half.measured())


def test_a_loss_that_cannot_be_has_no_width() -> None:
    for effect, method in ((1.0, "gamma"), (2.0, "gamma, grouped images")):
        assert mean_loss(np.zeros(5), 0.0, 1.0, effect) == Number(0.0, 0.0, 0.0, method)
        same = mean_loss(np.full(5, 0.5), 0.0, 1.0, effect)
        assert same == Number(0.5, 0.5, 0.5, method)


def test_combined_limits_stay_between_none_and_all() -> None:
    values, weights = np.array([0.1, 0.9]), np.array([0.5, 0.5])
    low, high = combined(values, values - 1.5, values + 1.5, weights)
    assert (low, high) == (0.0, 1.0)
    opposed = np.array([[1.0, -1.0], [-1.0, 1.0]])  # what one errs up the other errs down
    low, high = combined(values, values - 0.1, values + 0.2, weights, opposed)
    assert (low, high) == pytest.approx((0.5, 0.5))


def test_the_limit_on_the_side_of_all_or_none_is_the_value_itself() -> None:
    for trials in (*range(1, 200), 0.7, 3.3, 1e5):
        assert wilson(trials, trials)[1] == 1.0
        assert wilson(0.0, trials)[0] == 0.0


def test_a_bin_of_few_images_may_hide_wrong_ones() -> None:
    """Five images, all right, of which 0.99 was said: Wilson's lower end is 0.566."""
    one = np.array([5])
    low, high = calibration_limits(one, np.array([5.0]), np.array([4.95]), 0)
    assert low == 0.0
    assert high == pytest.approx(0.99 - wilson(5, 5)[0])


def test_quantiles_by_their_formulas() -> None:
    assert chi_squared(10.0, 0.0) == pytest.approx(10 * (1 - 2 / 90) ** 3)
    assert chi_squared(0.1, -Z) == 0.0
    assert student_quantile(1e9) == pytest.approx(Z)
    assert student_quantile(2.5) == pytest.approx(t.ppf(0.975, 2.5))


def test_the_upper_limit_of_a_calibration_error_by_hand() -> None:
    """One bin of ten images, sure at 0.7, six right: the far end of Wilson's interval counts."""
    images, right, confidence = np.array([10]), np.array([6.0]), np.array([7.0])
    low, high = calibration_limits(images, right, confidence, 0)
    ends = wilson(6, 10)
    farthest = max(abs(end - 0.7) for end in ends)
    likely = 6.5 / 11
    spread = np.sqrt(likely * (1 - likely) / 10)
    assert low == 0.0
    assert high == pytest.approx(max(farthest, 0.1 + Z * spread))
    # Very many images: the lower limit is above 0, and the upper one near the error.
    low, high = calibration_limits(images * 1000, right * 1000, confidence * 1000, 0)
    assert 0.08 < low < 0.1 < high < 0.12
    grouped = calibration_limits(images * 1000, right * 1000, confidence * 1000, 0, effect=1000.0)
    assert grouped == pytest.approx((0.0, max(farthest, 0.1 + Z * np.sqrt(
        (6000.5 / 10001) * (4000.5 / 10001) / 10))), abs=1e-6)  # fmt: skip


def test_two_bins_add_as_standard_errors_do() -> None:
    images, right, confidence = np.array([20, 60]), np.array([12.0, 57.0]), np.array([13.0, 54.0])
    _, high = calibration_limits(images, right, confidence, 0)
    gaps, weights = [1 / 20, 3 / 60], [0.25, 0.75]
    far = [max(abs(e - m) for e in wilson(r, n))
           for r, n, m in ((12, 20, 0.65), (57, 60, 0.9))]  # fmt: skip
    error = sum(w * g for w, g in zip(weights, gaps, strict=True))
    moved = error + np.sqrt(sum((w * (max(f, g) - g)) ** 2
                                for w, f, g in zip(weights, far, gaps, strict=True)))  # fmt: skip
    likely = [12.5 / 21, 57.5 / 61]
    spread = np.sqrt(sum(w**2 * p * (1 - p) / n
                         for w, p, n in zip(weights, likely, (20, 60), strict=True)))  # fmt: skip
    assert high == pytest.approx(max(moved, error + Z * spread))


def test_groups_widen_the_prediction_interval() -> None:
    for effect in (1.0, 4.0):
        next_right = betabinom(50, 90 / effect + 0.5, 10 / effect + 0.5)
        expected = tuple(int(next_right.ppf(share)) for share in (0.025, 0.975))
        assert prediction_interval(90, 100, 50, effect) == expected
    assert prediction_interval(3, 3, 0) == (0, 0)
    assert prediction_interval(1000, 1000, 2) == (2, 2)


def test_a_method_says_that_it_knows_groups() -> None:
    assert named("score", 1.0) == "score" and named("score", 1.01) == "score, grouped images"
