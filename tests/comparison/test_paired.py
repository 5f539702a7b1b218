from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tellapart.comparison.paired import columns, compare_predictions
from tellapart.errors import DataError, RunError
from tellapart.evaluation.metrics import evaluate_predictions
from tellapart.evaluation.predictions import Predictions
from tellapart.number import Number


def run(right: np.ndarray, part: str = "test") -> Predictions:
    """Predictions on images of class a that are right where ``right`` says so."""
    count = len(right)
    rows = np.where(right[:, None], [[0.9, 0.1]], [[0.2, 0.8]])
    labels = np.arange(count) % 2
    rows = np.where(labels[:, None] == 0, rows, rows[:, ::-1])
    return Predictions(part, ("a", "b"), tuple(f"{i:04d}.jpg" for i in range(count)), labels, rows)


def test_a_real_difference_and_one_that_may_be_chance() -> None:
    numbers = np.arange(1000)
    compared = compare_predictions(
        {
            "small": run(numbers >= 200),
            "probe": run(numbers >= 20),
            "finetuned": run((numbers < 4) | (numbers >= 22)),
        }
    )
    assert compared.names == ("finetuned", "probe", "small")
    by_name = {(pair.first, pair.second): pair for pair in compared.pairs}
    close, far = by_name["finetuned", "probe"], by_name["probe", "small"]
    assert not close.real and far.real
    assert (close.only_first_right, close.only_second_right) == (4, 2)
    assert (close.both_right, close.both_wrong) == (978, 16)
    assert far.difference.value == pytest.approx(0.18)
    assert far.difference.low < 0.18 < far.difference.high
    assert any(
        "which may be chance" in s and "finetuned alone is right on 4" in s
        for s in compared.sentences
    )
    assert any(
        "p < 0.0001, p and interval corrected for 3 comparisons" in s for s in compared.sentences
    )
    assert compared.leading == (
        "No clear winner: finetuned leads (98.20 % on the 1,000 test images), and probe (98.00 %) "
        "may be as good.",
        "finetuned is better than small by more than chance.",
    )
    assert compared.only_right["finetuned"] == ("0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg")
    assert compared.only_right["small"] == ()
    assert compared.all_wrong == tuple(f"{i:04d}.jpg" for i in range(4, 20))


def test_runs_are_joined_by_path_not_by_position() -> None:
    right = np.random.default_rng(0).random(300) < 0.8
    first = run(right)
    shuffled = first.select(np.random.default_rng(1).permutation(300))
    pair = compare_predictions({"a": first, "b": shuffled}).pairs[0]
    assert pair.only_first_right == pair.only_second_right == 0
    assert pair.both_right == right.sum()


def test_identical_runs_are_not_said_to_be_exactly_equal_for_ever() -> None:
    compared = compare_predictions({"a": run(np.ones(100, bool)), "b": run(np.ones(100, bool))})
    pair = compared.pairs[0]
    value, low, high = pair.difference.measured()
    assert value == 0 and low == -high and 0.03 < high < 0.04
    assert "a and b are right on exactly the same images." in compared.sentences


def test_no_run_is_called_the_most_accurate_beside_its_equal() -> None:
    numbers = np.arange(100)
    first, second = (run((numbers + shift) % 10 > 0) for shift in (0, 1))
    two = compare_predictions({"a": first, "b": second})
    assert two.leading[0] == (
        "No clear winner: a and b cannot be told apart on the 100 test images "
        "(90.00 % and 90.00 %)."
    )
    behind = run(numbers % 5 > 0)
    alone = compare_predictions({"a": first, "d": behind})
    assert alone.standing.winner == "a"
    assert alone.leading[0].startswith("a is the most accurate on the 100 test images: 90.00 %")
    assert not any("most accurate" in sentence for sentence in two.sentences)


def test_where_no_run_wins_the_cheapest_of_the_level_ones_is_named() -> None:
    numbers = np.arange(1000)
    runs = {"auto": run(numbers >= 22), "tuned": run(numbers >= 20), "small": run(numbers >= 200)}
    sizes = {"auto": 2_562, "tuned": 3_400_000, "small": 100}
    facts = {name: {"trainable_parameters": size} for name, size in sizes.items()}
    three = compare_predictions(runs, facts=facts)
    assert three.standing.level == ("auto",) and three.standing.worse == ("small",)
    assert "Of these" not in " ".join(three.leading)
    assert "auto trained fewer parameters: 2,562 instead of 3,400,000." in three.leading
    equal = compare_predictions(runs, facts={key: {"trainable_parameters": 7} for key in runs})
    assert not any("parameters" in sentence for sentence in equal.sentences)
    only_one = compare_predictions(runs, facts={"auto": facts["auto"]})
    assert not any("parameters" in sentence for sentence in only_one.sentences)


def test_what_ranks_the_runs_decides_who_leads_not_the_test_images() -> None:
    numbers = np.arange(1000)
    runs = {"a": run(numbers >= 40), "b": run(numbers >= 30), "c": run(numbers >= 300)}
    ranked = compare_predictions(runs, order=("a", "c", "b"), ranked_by="validation")
    assert ranked.names == ("a", "c", "b") and ranked.standing.leader == "a"
    assert ranked.standing.better == ("b",) and ranked.standing.worse == ("c",)
    assert ranked.leading[0] == (
        "No clear winner: validation puts a first (96.00 % on the 1,000 test images), but "
        "b (97.00 %) is more accurate there by more than chance."
    )
    wins = compare_predictions(runs, order=("b", "a", "c"), ranked_by="validation")
    assert wins.leading == (
        f"b is the most accurate on the 1,000 test images: 97.00 % "
        f"({wins.rows[0].metrics.accuracy.limits(2)}).",
        "It is better than each of the others by more than chance.",
        "By validation, which ranks the runs, it is first as well.",
    )


def test_of_many_runs_each_and_the_next_get_a_sentence() -> None:
    numbers = np.arange(120)
    runs = {
        name: run(numbers % share > 0)
        for name, share in (("a", 12), ("b", 6), ("c", 4), ("d", 3), ("e", 2))
    }
    compared = compare_predictions(runs)
    assert len(compared.pairs) == 10
    in_words = [s for s in compared.sentences if "McNemar" in s]
    assert [s.split(" (")[0].split(" by ")[0] for s in in_words] == [
        "a is more accurate than b",
        "b is ahead of c",
        "c is ahead of d",
        "d is more accurate than e",
    ]
    assert compared.sentences[-1].endswith("the report has all 10 pairs.")
    three = compare_predictions({name: runs[name] for name in "abc"})
    assert len([s for s in three.sentences if "McNemar" in s]) == 3


def test_other_test_images_are_refused_unless_told() -> None:
    numbers = np.arange(100)
    whole = run(numbers >= 10)
    part = run(numbers >= 20).select(np.arange(60, 100))
    with pytest.raises(RunError, match="different test images: 40 are shared, 60 only the first"):
        compare_predictions({"a": whole, "b": part})
    with pytest.raises(RunError, match="its validation images; compare runs on the same part"):
        compare_predictions({"a": whole, "b": replace(whole, part="validation")})
    compared = compare_predictions({"a": whole, "b": part}, shared_only=True)
    assert compared.images == 40 and compared.left_out == {"a": 60, "b": 0}
    assert compared.rows[0].metrics.images == 40
    assert "up to 60 of a run's images were left out" in compared.sentences[-1]


def test_other_classes_and_single_runs_are_refused() -> None:
    first = run(np.ones(10, bool))
    with pytest.raises(DataError, match="'a' and 'b': The predictions know different classes"):
        compare_predictions({"a": first, "b": replace(first, classes=("a", "c"))})
    with pytest.raises(RunError, match="at least two runs"):
        compare_predictions({"a": first})


def test_facts_go_into_rows_and_table_and_json() -> None:
    numbers = np.arange(100)
    compared = compare_predictions(
        {"a": run(numbers >= 10), "b": run(numbers >= 5)},
        facts={"a": {"seconds": 12.5, "train_accuracy": Number(1.0, 0.9, 1.0)}},
    )
    table = {row["name"]: row for row in compared.table()}
    assert table["a"]["seconds"] == 12.5 and table["a"]["train_accuracy_low"] == 0.9
    assert table["b"]["accuracy"] == 0.95
    content = json.loads(json.dumps(compared.to_json(), allow_nan=False))
    assert content["pairs"][0]["real"] is False


# --- in full ------------------------------------------------------------------------------------


def test_what_is_written_as_json() -> None:
    first, second = run(np.arange(100) >= 10), run(np.arange(100) >= 30)
    facts = {"a": {"seconds": 12.5, "validation_accuracy": Number(0.9, 0.8, 0.95, "wilson")}}
    compared = compare_predictions({"b": second, "a": first}, facts=facts, ranked_by="validation")
    content = compared.to_json()
    assert list(content) == [
        "part", "images", "left_out", "ranked_by", "winner", "rows", "pairs", "sentences",
        "only_right", "all_wrong",
    ]  # fmt: skip
    assert (content["part"], content["images"], content["winner"]) == ("test", 100, "a")
    assert content["ranked_by"] == "validation" and content["left_out"] == {"b": 0, "a": 0}
    assert content["sentences"] == list(compared.sentences) and len(content["sentences"]) == 3
    assert content["only_right"] == {
        "a": [f"{i:04d}.jpg" for i in range(10, 30)], "b": [],
    }  # fmt: skip
    assert content["all_wrong"] == [f"{i:04d}.jpg" for i in range(10)]
    row = content["rows"][0]
    assert list(row) == ["name", "metrics", "seconds", "validation_accuracy"]
    assert row["name"] == "a" and row["seconds"] == 12.5
    assert row["metrics"] == compared.rows[0].metrics.to_json()
    assert row["validation_accuracy"] == {"value": 0.9, "low": 0.8, "high": 0.95,
                                          "method": "wilson"}  # fmt: skip
    (pair,) = content["pairs"]
    value, low, high = compared.pairs[0].difference.measured()
    assert pair == {
        "first": "a", "second": "b", "difference": value, "low": low, "high": high,
        "only_first_right": 20, "only_second_right": 0, "both_right": 70, "both_wrong": 10,
        "p_value": compared.pairs[0].p_value, "p_corrected": compared.pairs[0].p_value,
        "test": "McNemar's exact test",
        "method": "score", "real": True,
    }  # fmt: skip
    assert 0.0 < low < 0.2 < high and pair["p_value"] == pytest.approx(math.erfc(math.sqrt(10)))
    tied = compare_predictions({"a": first, "b": first}).to_json()
    assert tied["winner"] is None and tied["ranked_by"] == "test"


def test_refusals_in_full() -> None:
    whole = run(np.arange(100) >= 10)
    part = run(np.arange(100) >= 20).select(np.arange(60, 100))
    cases = {
        "A comparison needs at least two runs; name another one.": {"a": whole},
        "'a' and 'b' were scored on different test images: 40 are shared, 60 only the first has, 0 "
        "only the second. Evaluate both on the same folder, or ask to compare only the images that "
        "they share.": {"a": whole, "b": part},
        "'a' was scored on its test images and 'b' on its validation images; compare runs on the "
        "same part.": {"a": whole, "b": replace(whole, part="validation")},
    }
    for sentence, runs in cases.items():
        with pytest.raises(RunError) as error:
            compare_predictions(runs)
        assert str(error.value) == sentence
    with pytest.raises(RunError, match="40 are shared, 0 only the first has, 60 only the second"):
        compare_predictions({"a": part, "b": whole})


def test_three_runs_are_compared_on_what_all_share() -> None:
    """The first two share half, the first and the third another half: a quarter is left."""
    whole = run(np.arange(100) >= 10)
    runs = {"a": whole, "b": whole.select(np.arange(50)), "c": whole.select(np.arange(25, 75))}
    compared = compare_predictions(runs, shared_only=True)
    assert compared.images == 25 and compared.left_out == {"a": 75, "b": 25, "c": 25}
    assert compared.sentences[-1] == (
        "Only the 25 images that all runs share were compared; up to 75 of a run's images were "
        "left out."
    )
    one = compare_predictions({"a": whole, "b": whole.select([7])}, shared_only=True)
    assert one.sentences[-1].startswith("Only the 1 image that all runs share was compared; up")


def test_images_without_a_label_do_not_count() -> None:
    whole = run(np.arange(100) >= 10)
    partly = replace(whole, labels=np.where(np.arange(100) < 40, -1, whole.labels))
    compared = compare_predictions({"a": partly, "b": partly})
    assert compared.images == 60 and compared.left_out == {"a": 0, "b": 0}


def test_groups_of_any_run_make_every_number_that_of_groups() -> None:
    first, second = run(np.arange(120) >= 12), run(np.arange(120) >= 0)
    grouped = replace(first, groups=np.arange(120) // 6)
    alone = compare_predictions({"a": first, "b": second})
    together = compare_predictions({"a": grouped, "b": second})
    assert alone.pairs[0].test == "McNemar's exact test" and alone.pairs[0].real
    assert together.pairs[0].test == "sign-flip test of 20 groups" and not together.pairs[0].real
    for row in together.rows:
        assert row.metrics.accuracy.method == "wilson, grouped images"


def test_the_more_accurate_comes_first_whatever_its_interval() -> None:
    """Two rare mistakes in groups make an interval wide; the value ranks."""
    first, second = run(np.arange(120) >= 4), run(np.arange(120) >= 3)
    compared = compare_predictions({"a": first, "b": second})
    assert compared.names == ("b", "a") and compared.standing.ranked_by == "test"
    assert compare_predictions({"a": first, "b": first}).names == ("a", "b")


def test_the_seed_is_that_of_the_calibration_errors_draws() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1.0, 300)
    right = random.random(300) < confidence - 0.15
    rows = np.column_stack([confidence, 1 - confidence])
    made = Predictions("test", ("a", "b"), tuple(map(str, range(300))), (~right).astype(int), rows)
    for seed in (0, 1):
        row = compare_predictions({"a": made, "b": made}, seed=seed).rows[0]
        assert row.metrics == evaluate_predictions(made, seed=seed)
    default = compare_predictions({"a": made, "b": made}).rows[0]
    assert default.metrics == evaluate_predictions(made) != row.metrics


def test_a_tie_and_a_difference_in_full() -> None:
    numbers = np.arange(100)
    first, second = run(numbers % 10 > 0), run((numbers + 1) % 10 > 0)
    sentences = compare_predictions({"a": first, "b": second}).sentences
    assert sentences[1] == (
        "a and b are equally accurate: a alone is right on 10 and b alone on 10 of the 100 images "
        "(McNemar's exact test, p = 1)."
    )
    better = compare_predictions({"a": run(numbers >= 30), "b": run(numbers >= 10)})
    _, low, high = better.pairs[0].difference.measured()
    assert better.sentences[1] == (
        f"b is more accurate than a by 20.00 points (+{100 * low:.2f} to +{100 * high:.2f}): "
        "b alone is right on 20 and a alone on 0 of the 100 images (McNemar's exact test, "
        "p < 0.0001)."
    )
    close = compare_predictions({"a": run(numbers >= 12), "b": run(numbers >= 10)})
    _, low, high = close.pairs[0].difference.measured()
    assert close.sentences[1] == (
        f"b is ahead of a by 2.00 points (\N{MINUS SIGN}{100 * -low:.2f} to +{100 * high:.2f}), "
        "which may be chance: b alone is right on 2 and a alone on 0 of the 100 images (McNemar's "
        "exact test, p = 0.5)."
    )


def test_the_interval_of_a_lead_is_that_of_the_lead_whoever_ranks_first() -> None:
    """Validation may put the less accurate run first; 2 points are not within -10 to +2."""
    numbers = np.arange(100)
    runs = {"a": run(numbers >= 12), "b": run(numbers >= 10)}
    found = compare_predictions(runs, order=("a", "b"))
    difference, low, high = found.pairs[0].difference.measured()
    assert found.pairs[0].first == "a" and low < difference < 0.0 < high
    assert found.sentences[1].startswith(
        f"b is ahead of a by 2.00 points (\N{MINUS SIGN}{100 * high:.2f} to +{100 * -low:.2f}), "
        "which may be chance: a alone is right on 0 and b alone on 2 of the 100 images"
    )


def test_columns_of_a_comparison() -> None:
    in_report = columns("test", "comparison")
    assert (in_report[0].title, in_report[0].short) == ("Test accuracy", "test accuracy")
    assert in_report[0].help == "on the same images for all, with 95 % interval"
    titles = [column.title for column in in_report]
    assert titles[1:4] == ["Validation accuracy", "Train accuracy", "Gap"]
    assert titles[-6:] == [
        "Parameters", "Trained", "Training time", "The time was", "Time an image", "Size on disk",
    ]  # fmt: skip
    in_terminal = [column.title for column in columns("validation", "terminal")]
    assert in_terminal[0] == "Validation accuracy" and "Gap" not in in_terminal
    assert in_terminal[-4:] == ["Trained", "Training time", "The time was", "Time an image"]


def test_what_a_row_has_in_a_column() -> None:
    train = Number(1.0, 0.9, 1.0)
    facts = {"train_accuracy": train, "gap": 0.1, "trainable_parameters": 12, "notes": ("x",),
             "more": {"y": 1}, "list": [1], "size_bytes": 7}  # fmt: skip
    row = compare_predictions({"a": run(np.arange(10) > 0), "b": run(np.arange(10) > 1)},
                              facts={"a": facts}).rows[0]  # fmt: skip
    by_title = {column.title: row.of(column) for column in columns("test", "comparison")}
    assert by_title["Test accuracy"] == row.metrics.accuracy
    assert (by_title["Train accuracy"], by_title["Gap"], by_title["Trained"]) == (train, 0.1, 12)
    assert by_title["Validation accuracy"] is None and by_title["Size on disk"] == 7
    assert (row.train_accuracy, row.gap) == (train, 0.1)
    flat = row.flat()
    assert flat["name"] == "a" and flat["images"] == 10
    assert (flat["train_accuracy"], flat["train_accuracy_low"], flat["train_accuracy_high"]) == (
        1.0, 0.9, 1.0,
    )  # fmt: skip
    assert not {"notes", "more", "list"} & set(flat)
    assert flat["gap"] == 0.1 and flat["size_bytes"] == 7
    assert flat["accuracy_high"] == row.metrics.accuracy.high
