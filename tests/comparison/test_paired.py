from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tellapart.comparison.paired import compare_predictions
from tellapart.errors import DataError, RunError
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
    compared = compare_predictions({
        "small": run(numbers >= 200), "probe": run(numbers >= 20),
        "finetuned": run((numbers < 4) | (numbers >= 22)),
    })
    assert compared.names == ("finetuned", "probe", "small")
    by_name = {(pair.first, pair.second): pair for pair in compared.pairs}
    close, far = by_name["finetuned", "probe"], by_name["probe", "small"]
    assert not close.real and far.real
    assert (close.only_first_right, close.only_second_right) == (4, 2)
    assert (close.both_right, close.both_wrong) == (978, 16)
    assert far.difference.value == pytest.approx(0.18)
    assert far.difference.low < 0.18 < far.difference.high
    assert any("which may be chance" in s and "finetuned alone is right on 4" in s
               for s in compared.sentences)
    assert any("p < 0.0001, p and interval corrected for 3 comparisons" in s
               for s in compared.sentences)
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
    runs = {name: run(numbers % share > 0) for name, share in
            (("a", 12), ("b", 6), ("c", 4), ("d", 3), ("e", 2))}
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
