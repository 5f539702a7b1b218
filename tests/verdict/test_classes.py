"""The sentence of each class, the worst first, and plain words where images are few."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from made import metrics, verdict


def sentences(matrix: list[list[int]], classes: tuple[str, ...] = ()) -> list[str]:
    return [c.sentence for c in verdict(metrics(matrix, classes=classes)).classes]


def test_of_a_hundred_images() -> None:
    """Wilson's limits of 72 of 100 are 62.5 and 79.9 %, of 72 of 79 are 82.8 and 95.6 %."""
    found = sentences([[72, 28], [7, 293]], ("defective", "functional"))
    assert found[0] == (
        "Of 100 images of defective it finds 72 (63 to 80); of 100 that it calls defective 91 (83 "
        "to 96) are right."
    )


def test_the_worst_class_comes_first_and_few_images_alone_make_none_the_worst() -> None:
    found = verdict(metrics([[900, 100, 0], [600, 400, 0], [1, 0, 1]])).classes
    assert [c.name for c in found] == ["dog", "cat", "fox"]
    assert [c.images for c in found] == [1000, 1000, 2]


def test_few_images_are_counted() -> None:
    def fox(row: list[int]) -> str:
        found = verdict(metrics([[95, 5, 0], [3, 97, 0], row])).classes
        return next(c.sentence for c in found if c.name == "fox")

    assert fox([1, 0, 3]) == (
        "Only 4 test images are of fox: it finds 3 of them; of the 3 that it calls fox all are "
        "right. That is too few to say what is usual."
    )
    assert fox([0, 0, 1]).startswith(
        "Only 1 test image is of fox: it finds it; the one image that it calls fox is right."
    )
    assert fox([0, 2, 0]).startswith(
        "Only 2 test images are of fox: it finds none of them; it calls no image fox."
    )


def test_a_class_without_images_and_one_that_is_never_the_answer() -> None:
    found = sentences([[95, 5, 0], [3, 97, 0], [0, 0, 0]])
    assert found[-1] == (
        "There is no test image of fox, so nothing says how many it finds; it calls no image fox."
    )
    found = sentences([[95, 3, 2], [3, 97, 0], [0, 0, 0]])
    assert found[-1] == (
        "There is no test image of fox, so nothing says how many it finds; 2 images of others are "
        "called so."
    )
    found = sentences([[95, 5, 0], [3, 97, 0], [20, 20, 0]])
    assert found[0] == "Of 100 images of fox it finds 0 (0 to 9); it calls no image fox."


def test_of_one_class_alone_nothing_says_how_often_its_answer_is_right() -> None:
    """Every image is a cat: none that is called so can be wrong."""
    found = sentences([[15, 45], [0, 0]])
    assert found == [
        "Of 100 images of cat it finds 25 (16 to 37).",
        "There is no test image of dog, so nothing says how many it finds; 45 images of others are "
        "called so.",
    ]


def test_many_classes_without_images_share_a_sentence() -> None:
    """Four of six: one sentence, and not four of the same words."""
    none = [0] * 6
    found = verdict(metrics([[20, 1, 0, 0, 0, 2], [1, 30, 0, 0, 0, 0], none, none, none, none]))
    assert [c.name for c in found.classes] == ["cat", "dog", ""]
    assert found.classes[-1].sentence == (
        "There is no test image of fox, owl, elk or 1 more, so nothing says how many of theirs it "
        "finds; of the images of other classes 2 are called so, wrongly."
    )


def test_what_is_not_all_is_not_rounded_to_all() -> None:
    found = sentences([[1999, 1], [0, 2000]])
    assert "it finds 99.9 (99.7 to 99.9)" in found[0] and "it finds 100 (99.8 to 100)" in found[1]


def test_a_name_of_several_words_stands_in_quotes() -> None:
    found = sentences([[95, 5], [3, 97]], ("tumour", "no tumour"))
    assert any("Of 100 images of 'no tumour' it finds 97" in text for text in found)
