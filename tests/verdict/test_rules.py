"""Every rule has a case in which its sentence appears, and one in which it does not.

The numbers in the sentences are worked out by hand, or are those of R's and Newcombe's tables.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made import GOOD, history, metrics, said, trained, two, verdict

from tellapart.evaluation.calibration import ReliabilityBin
from tellapart.number import Number
from tellapart.verdict.evidence import Frames, Leak, Origin
from tellapart.verdict.rules import RULES
from tellapart.verdict.words import difference

NOTHING = metrics([[0, 0], [0, 0]])
CLEAN, ALL = two(60, 40), two(130, 40)
"""Of 340 images 140 were leaked, all of which are right."""
FEW_SURE = (ReliabilityBin(14 / 15, 1.0, 1000, 0.97, 0.90),)


def leak(**more: object) -> Leak:
    return Leak(**({"images": 140, "of": 340, "with_them": ALL, "without_them": CLEAN} | more))


def falling(count: int = 10) -> list[float]:
    return [1 / (i + 1) for i in range(count)]


#: A row a rule: what makes it speak, how it begins, and what makes it silent or say otherwise.
CASES = [
    ("no_labels", {"shown": NOTHING}, "too_few: No test image has a label", {}),
    ("leak", {"shown": CLEAN, "leak": leak(copies=100, near=40)},
     "bad: 140 of 340 test images were also used in training (100 as equal files, 40 as near "
     "copies); they are left out of the numbers here. With them the accuracy would be 76.5 %.", {}),
    ("leak", {"shown": ALL, "leak": leak(counted=True)},
     "bad: 140 of 340 test images were also used in training, and they count here. Without them "
     "the accuracy is 60.0 % (53.1 to 66.5 %).", {}),
    ("leak", {"shown": NOTHING, "leak": leak(images=340, copies=340, without_them=None)},
     "bad: All 340 test images were also used in training (as equal files), so nothing is known",
     {}),
    ("leak", {"leaks_sought": True}, "good: No test image was also used in training", {}),
    ("not_sought", {"not_sought": "all alike"},
     "too_few: Of the images used in training only equal files could be looked for: they are all "
     "so alike that a changed copy of one cannot be told from another. Where pictures of one and "
     "the same thing are in training and here, the number is too good.", {"not_sought": ""}),
    ("not_sought", {"not_sought": "too many",
                    "origin": Origin(run="r", folder="/d", group_by="folder")},
     "good: Of the images used in training only equal files could be looked for: there are too "
     "many images to compare every two of them; what belongs together was kept in one part",
     {"origin": Origin(run="r", folder="/d", group_by="folder",
                       given_parts=frozenset({"train", "test"}))}),
    ("one_class", {"shown": metrics([[90, 10], [0, 0]])},
     "too_few: All test images are labelled cat", {}),
    ("single_prediction", {"shown": metrics([[50, 0], [50, 0]])},
     "bad: Every test image is called cat", {"shown": metrics([[75, 0], [1, 0]])}),
    ("learned", {"shown": two(52, 48), "validation": two(26, 24, "validation")},
     "bad: Nothing was learned, as far as these images show: averaged over classes 52.0 % are "
     "right", {"shown": two(90, 10)}),
    ("learned", {"shown": metrics([[3, 1], [0, 4]])}, "too_few: Too few images to tell it from "
     "guessing", {}),
    # One answer for all, where the other class has one image: that may be chance.
    ("learned", {"shown": metrics([[75, 0], [1, 0]])},
     "too_few: Too few images to tell it from guessing: averaged over classes 50.0 %", {}),
    ("few_images", {"shown": metrics([[18, 2], [3, 17]])},
     "too_few: 40 test images are few, and leave the true accuracy anywhere between 73.9 and "
     "94.5 % (95 %); four times as many would halve that range.", {}),
    ("few_images", {"shown": metrics([[18, 2], [3, 17]]), "groups": 9},
     "too_few: 40 test images in 9 groups are few, for images that belong together say little more "
     "than one, and leave the true accuracy anywhere between 73.9 and 94.5 % (95 %); four times as "
     "many groups would halve that range.", {}),
    ("few_images", {}, "good: 2,000 test images tell the accuracy to within 0.8 points.",
     {"shown": metrics([[18, 2], [3, 17]])}),
    ("few_groups", {"groups": 12},
     "too_few: 2,000 test images belong to only 12 groups", {"groups": 400}),
    ("few_groups", {"groups": 12}, "too_few: 2,000",
     {"shown": metrics([[18, 2], [3, 17]]), "groups": 12}),
    # Its own validation images say that something was learned: these are of another kind.
    ("learned", {"shown": two(52, 48)},
     "bad: On these images it is no better than guessing: averaged over classes 52.0 % are right "
     "(45.1 to 58.8 %), and guessing gives 50.0 %. What it learned holds for 2,000 validation "
     "images, of which 97.0 % are right, and not for these.", {}),
    ("learned", {"shown": two(52, 48, "phone"), "own": False, "test": two(90, 10)},
     "bad: On these images it is no better than guessing: averaged over classes 52.0 % are right "
     "(45.1 to 58.8 %), and guessing gives 50.0 %. What it learned holds for the run's own 200 "
     "test images, of which 90.0 % are right, and not for these.", {}),
    ("never_predicted", {"shown": metrics([[90, 10, 0], [5, 95, 0], [25, 25, 0]])},
     "bad: fox is never the answer, although 50 test images are labelled so.", {}),
    ("never_predicted", {"shown": metrics([[90, 10, 0], [5, 95, 0], [1, 0, 0]])},
     "too_few: fox is never the answer, although 1 test image is labelled so", {}),
    ("majority", {"shown": metrics([[1700, 100], [100, 100]])},
     "bad: The accuracy alone says little: always answering cat would be right on 90.0 %", {}),
    ("majority", {"shown": metrics([[1750, 50], [20, 180]])},
     "good: The classes are uneven: always answering cat would be right on 90.0 %", {}),
    ("rare_class", {"shown": metrics([[960, 0], [0, 4]])},
     "too_few: Only 4 test images are of dog, so the accuracy says next to nothing about it: were "
     "it never found, it would still be 99.6 %.", {"shown": metrics([[960, 0], [0, 40]])}),
    ("rare_class", {"shown": metrics([[900, 0, 0], [0, 1, 0], [0, 0, 3]])},
     "too_few: Only 4 test images are of dog and fox, so the accuracy says next to nothing about "
     "them", {"shown": metrics([[5, 0, 0], [0, 6, 0], [0, 0, 5]])}),
    ("missing_classes", {"shown": metrics([[90, 9, 0], [20, 79, 0], [0, 0, 0]])},
     "bad: There is no test image of fox, so the number says nothing about it.", {}),
    ("interrupted", {"training": trained(in_epochs=True, ended_by="interrupted",
                                         interruption="stopped at epoch 2 of 30")},
     "bad: Training did not come to its end: it stopped at epoch 2 of 30.",
     {"training": trained(in_epochs=True, ended_by="early stopping")}),
    ("no_test", {"shown": two(970, 30, "validation")}, "bad: There is no test part", {}),
    ("frames", {"frames": Frames(images=1200, of=1500, group_by="folder")},
     "too_few: 1,200 of 1,500 images look by their names like frames", {}),
    ("unlike", {"shown": two(90, 10, "phone"), "own": False, "unlike": Number(0.3, 0.24, 0.37)},
     "bad: 30.0 % of the images of phone are unlike any that it was trained on (5 % would be",
     {"unlike": Number(0.12, 0.08, 0.3)}),
    ("unlike", {"unlike": Number(0.05, 0.03, 0.08)}, "good: 5.0 % of the test images are unlike",
     {}),
    ("borderline", {"borderline": 1},
     "too_few: 1 pair of a test image and one of another part looks alike",
     {}),
    ("validation_leak", {"validation_leak": 12},
     "bad: 12 of the validation images were also used to train", {}),
    ("shift", {"shown": two(730, 270)},
     "bad: The test images are harder: 97.0 % of 2,000 validation images and 73.0 % of 2,000 test "
     "images are right, a difference of 24.0 points", {}),
    ("shift", {"validation": two(800, 200, "validation")}, "bad: The test images are easier", {}),
    ("shift", {"shown": two(18, 2), "validation": two(19, 1, "validation")},
     "too_few: Too few images to tell whether the test images are harder", {}),
    ("shift", {"shown": two(80, 20, "phone"), "own": False, "test": GOOD},
     "bad: The images of phone are harder: 97.0 % of the run's own 2,000 test images", {}),
    ("shift", {}, "good: The test images are about as hard",
     {"shown": two(970, 30, "validation"), "test": None}),
    ("underfitting", {"train": two(600, 400, "train")},
     "bad: It does not fit even its own training images: 60.0 % of a sample of 2,000 training "
     "images are right, and 97.0 % of 2,000 validation images.", {}),
    ("fitting", {"train": two(1000, 0, "train"), "validation": two(405, 95, "validation")},
     "bad: It overfits: 100.0 % of a sample of 2,000 training images and 81.0 % of 1,000 "
     "validation images are right, a difference of 19.0 points", {}),
    ("fitting", {}, "good: It hardly overfits", {"train": None}),
    ("fitting", {"train": two(99, 1, "train"), "validation": two(18, 2, "validation")},
     "too_few: Too few images to tell whether it overfits", {}),
    ("fitting", {"train": two(1000, 0, "train"), "validation": None, "shown": two(800, 200)},
     "bad: It overfits: 100.0 % of a sample of 2,000 training images and 80.0 % of 2,000 test",
     {"train": two(600, 400, "train")}),
    ("weak_class", {"shown": metrics([[95, 5, 0], [3, 97, 0], [35, 0, 15]])},
     "bad: fox is found in 15 of its 50 test images, 30.0 % (19.1 to 43.8 %).", {}),
    ("weak_class", {"shown": metrics([[95, 5, 0], [3, 97, 0], [3, 0, 2]])},
     "too_few: fox is found in 2 of its 5 test images", {}),
    ("confusion", {"shown": metrics([[78, 27], [3, 95]], classes=("tumour", "no tumour"))},
     "bad: 27 of 105 test images labelled tumour were called 'no tumour'.", {}),
    ("confusion", {"shown": metrics([[80, 20], [18, 82]])},
     "bad: 20 of 100 test images labelled cat were called dog, and 18 of 100 the other way round.",
     {}),
    ("confusion", {"shown": metrics([[18, 2], [3, 17]])}, "too_few: Too few images to tell whether "
     "a class is often taken for another: 3 of 20", {}),
    ("confusion", {}, "good: No class is often taken for another", {"shown": two(1000, 0)}),
    ("classes_alike", {}, "good: All classes are found equally often: 97.0 %",
     {"shown": metrics([[95, 5, 0], [3, 97, 0], [35, 0, 15]])}),
    ("classes_alike", {"shown": metrics([[980, 20], [60, 940]])},
     "bad: The classes are not found equally often: 94.0 % of 1,000 test images of dog", {}),
    ("few_class_images", {"shown": metrics([[95, 5, 0], [3, 97, 0], [1, 0, 9]])},
     "too_few: fox has fewer than 30 test images, so what is said of it is rough.", {}),
    ("few_class_images", {"shown": metrics([[18, 2], [3, 17]])},
     "too_few: Every class has fewer than 30 test images", {}),
    ("no_mistakes", {"shown": two(1000, 0)}, "good: No test image is wrong.", {}),
    ("confidence", {"shown": metrics([[90, 10], [10, 90]], sure=0.99)},
     "bad: It is too sure of itself: on average it is 99.0 % sure and right on 90.0 %", {}),
    ("confidence", {"shown": metrics([[90, 10], [10, 90]], sure=0.7)},
     "bad: It is not sure enough", {}),
    ("confidence", {"shown": metrics([[90, 10], [10, 90]], calibration=(0.1, 0.06, 0.15))},
     "bad: Its confidence is too high in some ranges", {}),
    ("confidence", {"shown": metrics([[90, 10], [10, 90]], calibration=(0.04, 0.0, 0.15))},
     "too_few: Too few images to tell whether its confidence", {}),
    ("confidence", {}, "good: Its confidence can be taken at its word", {"shown": two(52, 48)}),
    ("temperature", {"temperature": 1.7, "temperature_gain": Number(-0.02, -0.03, -0.01)},
     "bad: The temperature of 1.70, fitted on the validation images, made the confidence on the "
     "test images worse: log loss 0.280 before, 0.300 after.", {}),
    ("temperature", {"temperature": 1.7, "temperature_gain": Number(-0.02, -0.06, 0.02)},
     "too_few: The temperature of 1.70, fitted on the validation images, made the confidence on "
     "the test images worse, which may be chance", {}),
    ("temperature", {"temperature": 1.7, "temperature_gain": Number(0.02, 0.01, 0.03)},
     "good: The temperature of 1.70", {}),
    ("sure_mistakes", {"shown": metrics([[900, 100], [100, 900]], reliability=FEW_SURE)},
     "too_few: It was more than 93.3 % sure in 100 of 200 mistakes, where about 30 are to be "
     "expected", {}),
    ("epochs", {"training": trained(in_epochs=True, history=history(falling()))},
     "bad: More epochs would probably help",
     {"training": trained(in_epochs=True, history=history(falling()), ended_by="time limit")}),
    ("epochs", {"training": trained(in_epochs=True, history=history(falling()))},
     "bad: More epochs",
     {"training": trained(in_epochs=True, history=history(falling()), ended_by="early stopping")}),
    ("epochs", {"training": trained(in_epochs=True, kept_epoch=4,
                                    history=history([0.9, 0.6, 0.5, 0.45, 0.5, 0.55, 0.6, 0.7]))},
     "good: After epoch 4 it learned its training images by heart: the validation loss rises from "
     "0.45 to 0.7", {}),
    ("epochs", {"training": trained(in_epochs=True, kept_epoch=8,
                                    history=history([0.9, 0.6, 0.5, 0.45, 0.5, 0.55, 0.6, 0.7]))},
     "bad: After epoch 4", {}),
    ("rate_steps", {"training": trained(in_epochs=True, history=history(
        [0.5] * 12, [1e-3] * 5 + [1e-4] * 4 + [1e-5] * 3))},
     "good: The learning rate dropped before epoch 6 to 0.0001, before epoch 10 to 1e-05", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "speaks", "beginning", "silent"), CASES,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(CASES)],
)  # fmt: skip
def test_what_is_said_and_when_it_is_not(
    kind: str, speaks: dict[str, object], beginning: str, silent: dict[str, object]
) -> None:
    assert said(**speaks)[kind].startswith(beginning)
    other = said(**(speaks | silent if silent else {"train": None, "validation": None}))
    assert not other.get(kind, "").startswith(beginning)


def test_every_rule_has_a_case() -> None:
    assert {row[0] for row in CASES} == {rule.key for rule in RULES}


def test_a_difference_has_newcombes_interval() -> None:
    """The examples (a), (b) and (e) of Newcombe 1998, table II, method 10."""
    from tellapart.evaluation.intervals import proportion

    for a, m, b, n, low, high in (
        (56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090),
        (5, 56, 0, 29, -0.0381, 0.1926),
    ):  # fmt: skip
        found = difference(proportion(a, m, ""), proportion(b, n, ""))
        assert found.value == pytest.approx(a / m - b / n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_the_gap_between_train_and_test() -> None:
    """100 % on train and 84 % on what was held out is never "no sign of overfitting"."""
    held_out = two(840, 160, "validation")
    text = said(two(840, 160), train=two(1000, 0, "train"), validation=held_out)["fitting"]
    assert text.startswith(
        "bad: It overfits: 100.0 % of a sample of 2,000 training images and "
        "84.0 % of 2,000 validation images are right, a difference of 16.0"
    )


def test_fitting_and_shift_are_told_apart() -> None:
    """As good on validation as on train, and worse on test: that is no overfitting."""
    found = said(two(730, 270))
    assert found["fitting"].startswith("good: ") and found["shift"].startswith("bad: ")
    # As good on test as on validation, and better on train: that is no shift.
    low = two(850, 150, "validation")
    found = said(two(850, 150), train=two(1000, 0, "train"), validation=low)
    assert found["fitting"].startswith("bad: ") and found["shift"].startswith("good: ")


def test_a_sample_of_train_is_called_so_and_all_of_it_is_not() -> None:
    assert "97.5 % of a sample of 2,000 training images" in said()["fitting"]
    whole = said(counts={"train": {"cat": 1000, "dog": 1000}})["fitting"]
    assert "97.5 % of 2,000 training images" in whole


def test_a_leak_silences_what_it_explains() -> None:
    """The brain scans: with the leak nothing is praised, and clean the classifier guesses."""
    size = 4
    clean = metrics([[9, 8, 8, 6], [8, 9, 8, 6], [8, 8, 9, 6], [6, 6, 7, 10]])
    perfect = [[300 if i == j else 0 for j in range(size)] for i in range(size)]
    everything = metrics(
        [
            [68 + a if i == j else a for j, a in enumerate(row)]
            for i, row in enumerate(clean.confusion_matrix)
        ]
    )
    found = verdict(
        clean,
        train=metrics(perfect, "train"),
        validation=metrics(perfect, "validation"),
        leak=Leak(images=272, of=394, with_them=everything, without_them=clean),
        counts={"train": dict.fromkeys(clean.classes, 300)},
    )
    assert found.light == "red" and found.reasons[0].kind == "leak"
    assert found.reasons[0].sentence.startswith("272 of 394 test images were also used in training")
    assert "With them the accuracy would be 78.4 %" in found.reasons[0].sentence
    assert found.remains == (
        "On the 122 clean test images: 30.3 % are right (22.9 to 39.0 %); guessing gives 25.0 %."
    )
    text = " ".join(c.sentence for c in (*found.reasons, *found.findings))
    for praise in ("hardly overfits", "at its word", "It is better than guessing", "It fits"):
        assert praise not in text
    assert math.isclose(37 / 122, clean.accuracy.value)


def test_where_leaked_images_count_nothing_is_concluded_from_them() -> None:
    """What they make sure or easy says nothing of the confidence on others, or of their kind."""
    silent = {"confidence", "shift"}
    everything = metrics([[130, 40], [40, 130]], sure=0.99)
    assert not silent & said(everything, leak=leak(counted=True)).keys()
    assert silent <= said(metrics([[60, 40], [40, 60]], sure=0.99), leak=leak()).keys()
