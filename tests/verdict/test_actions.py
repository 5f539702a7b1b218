"""What next: the actions that promise most, with commands that can be run as they stand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made import ORIGIN, history, metrics, trained, two, verdict

from tellapart.evaluation.learning_curve import ClassCost, CurvePoint, LearningCurve
from tellapart.number import Number
from tellapart.verdict.evidence import Frames, Leak, Origin
from tellapart.verdict.verdict import Action

OVERFIT = {"shown": two(800, 200), "train": two(1000, 0, "train"),
           "validation": two(800, 200, "validation")}  # fmt: skip
LOW = {"shown": two(850, 150), "validation": two(850, 150, "validation")}
FALLING = history([1 / (i + 1) for i in range(10)])


def actions(**case: object) -> dict[str, Action]:
    return {action.kind: action for action in verdict(**case).actions}  # type: ignore[arg-type]


def test_a_healthy_run_is_left_alone() -> None:
    assert actions() == {}


def test_fine_tune_where_a_frozen_network_leaves_room() -> None:
    found = actions(**LOW)
    assert found["fine_tune"].command == "tellapart train /data/pets --recipe finetune"
    assert "85.0 % leaves room for it" in found["fine_tune"].sentence
    assert "fine_tune" not in actions(**LOW, training=trained(frozen=False))
    assert "fine_tune" not in actions(shown=two(980, 20))  # hard to better
    assert "fine_tune" not in actions(**LOW, counts={"train": {"cat": 50, "dog": 50}})


def test_where_nothing_was_learned_nothing_is_promised_by_the_accuracy() -> None:
    """Of shuffled labels: an accuracy near guessing is no reason to better it."""
    shown, own = two(51, 49), two(900, 100, "train")
    found = actions(shown=shown, train=own, validation=two(50, 50, "validation"))
    assert found["labels"].sentence.endswith("nothing in them was learned.")
    assert "leaves room" not in found["fine_tune"].sentence
    assert "nothing shows that it sees, as it is, what tells these classes apart" in (
        found["fine_tune"].sentence
    )
    assert "augment" not in found


def test_of_test_images_of_another_kind_the_labels_are_not_to_blame() -> None:
    """Good on validation and at guessing on test: what is missing is images like these."""
    found = actions(shown=two(51, 49))
    assert "like_these" in found
    assert not {"labels", "fine_tune", "more_images"} & found.keys()
    assert verdict(two(51, 49)).answer == (
        "No: on these images nothing shows that it is better than guessing."
    )


def test_of_two_classes_that_are_taken_for_one_another_both_need_images() -> None:
    found = actions(shown=two(80, 20), validation=two(80, 20, "validation"))["more_images"]
    assert found.sentence == (
        "Collect more images of cat and dog, like those that it takes for one another."
    )
    shown = metrics([[78, 22], [2, 98]])
    validation = metrics([[78, 22], [2, 98]], "validation")
    found = actions(shown=shown, validation=validation)["more_images"]
    assert found.sentence == "Collect more images of cat, like those that it calls dog."


def test_a_test_is_split_off_only_where_each_class_has_an_image_for_it() -> None:
    shown = two(40, 10, "validation")
    begun = replace(ORIGIN, dividing=("--set", "data.test=0.0", "--set", "seed=3"))
    found = actions(shown=shown, validation=shown, test=None, origin=begun)["make_test"]
    assert found.command == "tellapart train /data/pets --set seed=3 --test 0.15"
    few = {"train": {"cat": 1, "dog": 1}, "validation": {"cat": 1, "dog": 1}}
    found = actions(shown=shown, validation=shown, test=None, counts=few)["make_test"]
    assert found == Action("make_test", "Collect images for a test that nothing is chosen by.")


def test_one_image_of_a_rare_class_asks_for_more_of_them() -> None:
    """All right but the only rare one: it is neither useless nor good, but hardly tested."""
    found = actions(shown=metrics([[75, 0], [1, 0]]), counts={"train": {"cat": 350, "dog": 8}})
    assert found["balance"].sentence == (
        "Let rare classes count more: dog has only 8 of 358 training images."
    )
    assert found["larger_test"].sentence == (
        "Collect more images of dog: 1 test image says too little."
    )


def test_a_network_from_random_weights_should_start_from_a_pretrained_one() -> None:
    scratch = trained(pretrained=False, frozen=False, in_epochs=True)
    found = actions(**LOW, training=scratch)
    assert found["pretrained"].command == "tellapart train /data/pets"
    many = {"train": {"cat": 30_000, "dog": 30_000}}
    assert "pretrained" not in actions(**LOW, training=scratch, counts=many)


@pytest.mark.parametrize(
    ("frozen", "augmented", "kind", "recipe"),
    [
        (True, False, "augment", "frozen-augmented"),
        (False, False, "augment", "finetune"),
        (False, True, "freeze", "frozen-augmented"),
        (True, True, None, ""),
    ],
)
def test_against_overfitting_no_advice_that_is_followed_already(
    frozen: bool, augmented: bool, kind: str | None, recipe: str
) -> None:
    run = trained(frozen=frozen, augmented=augmented, in_epochs=True)
    found = actions(**OVERFIT, training=run)
    assert {"augment", "freeze"} & found.keys() == ({kind} if kind else set())
    if kind:
        assert found[kind].command == f"tellapart train /data/pets --recipe {recipe}"


def test_more_epochs_with_the_time_that_an_epoch_took() -> None:
    run = trained(in_epochs=True, history=FALLING, seconds_an_epoch=12.0)
    found = actions(training=run)["more_epochs"]
    assert found.sentence == "Train for 5 more epochs, about 1 min 0 s on the same machine."
    assert found.command == "tellapart train --resume runs/pets --extend 5"
    unknown = trained(in_epochs=True, history=FALLING)
    assert actions(training=unknown)["more_epochs"].sentence == "Train for 5 more epochs."
    stopped = trained(in_epochs=True, history=FALLING, ended_by="time limit")
    assert "more_epochs" not in actions(training=stopped)


def test_an_interrupted_run_goes_on() -> None:
    run = trained(in_epochs=True, interruption="stopped at epoch 2 of 30", ended_by="interrupted")
    first = verdict(training=run).actions[0]
    assert (first.kind, first.command) == ("finish", "tellapart train --resume runs/pets")


def test_leaked_images_are_looked_at_or_no_longer_counted() -> None:
    leak = Leak(images=300, of=2000, with_them=two(990, 10), without_them=two(970, 30))
    assert actions(leak=leak)["see_leaks"].command == "tellapart inspect /data/pets --audit"
    counted = Leak(images=300, of=2000, with_them=two(990, 10), without_them=two(970, 30),
                   counted=True)  # fmt: skip
    assert actions(leak=counted)["no_leaks"].command.endswith("--set data.keep_leaks=false")


def test_rare_classes_that_are_missed_count_more() -> None:
    shown = metrics([[985, 15], [70, 30]])
    counts = {"train": {"cat": 1000, "dog": 100}}
    found = actions(shown=shown, counts=counts)["balance"]
    assert found.command == "tellapart train /data/pets --set probe.class_weight=balanced"
    assert "dog has only 100 of 1,100 training images" in found.sentence
    assert "balance" not in actions(shown=shown, counts=counts, training=trained(balanced=True))
    even = {"train": {"cat": 1000, "dog": 1000}}
    assert "balance" not in actions(shown=shown, counts=even)


def test_series_are_kept_together_only_where_tellapart_divides() -> None:
    frames = Frames(images=1200, of=1500, group_by=r"^(.*?)\d+\.\w+$")
    found = actions(frames=frames)["group"]
    assert found.command == r"tellapart train /data/pets --group-by '^(.*?)\d+\.\w+$'"
    given = Origin(run="r", folder="/d", given_parts=frozenset({"train", "test"}))
    assert "group" not in actions(frames=frames, origin=given)
    # Where copies cannot be told nothing says by what to group, so there is no command.
    found = actions(not_sought="all alike")["group"]
    assert "--group-by, which keeps them in one part" in found.sentence and not found.command
    assert "group" not in actions(not_sought="all alike", origin=given)
    grouped = Origin(run="r", folder="/d", group_by="folder")
    assert "group" not in actions(not_sought="all alike", origin=grouped) and "group" not in (
        actions()
    )


def test_more_test_images() -> None:
    few = {"shown": metrics([[18, 2], [3, 17]])}
    assert actions(**few)["larger_test"].command == "tellapart train /data/pets --test 0.3"
    given = Origin(run="r", folder="/d", given_parts=frozenset({"test"}))
    assert actions(**few, origin=given)["larger_test"].command == ""
    absent = actions(shown=metrics([[990, 9, 0], [20, 979, 0], [0, 0, 0]]))
    assert absent["larger_test"] == Action("larger_test", "Collect test images of fox.")
    own = actions(shown=two(970, 30, "validation"), test=None)
    assert own["make_test"].command == "tellapart train /data/pets --test 0.15"


def test_a_command_repeats_how_the_images_were_read_and_divided() -> None:
    origin = Origin(
        run="-my run",
        folder="/data/my pets",
        reading=("--exclude", "/tmp/out list.csv"),
        dividing=("--set", "seed=3"),
    )
    assert actions(**LOW, origin=origin)["fine_tune"].command == (
        "tellapart train '/data/my pets' --recipe finetune --exclude '/tmp/out list.csv' --set "
        "seed=3"
    )
    run = trained(in_epochs=True, interruption="stopped at epoch 2 of 30", ended_by="interrupted")
    assert actions(origin=origin, training=run)["finish"].command == (
        "tellapart train --resume './-my run'"
    )


def test_a_command_begins_from_the_weights_that_it_should() -> None:
    """From the run's own where its network fits, else from those that the run began from."""
    fits = frozenset({"finetune", "frozen-augmented"})
    own = Origin(run="runs/pets", folder="/data/pets", recipe="frozen-augmented", fits=fits)
    assert actions(**LOW, origin=own)["fine_tune"].command == (
        "tellapart train /data/pets --recipe finetune --from runs/pets"
    )
    other = replace(own, fits=frozenset())
    assert "--from" not in actions(**LOW, origin=other)["fine_tune"].command
    shown = metrics([[985, 15], [70, 30]])
    balance = {"shown": shown, "counts": {"train": {"cat": 1000, "dog": 100}}}
    begun = replace(own, started_from="runs/first")
    assert "--recipe frozen-augmented --from runs/first --set" in (
        actions(**balance, origin=begun)["balance"].command
    )
    # Another division would put images into test that the first run may have learned.
    few = {"shown": metrics([[18, 2], [3, 17]])}
    assert "--from" not in actions(**few, origin=begun)["larger_test"].command
    elsewhere = replace(begun, started_elsewhere=True)
    assert "--from runs/first --test 0.3" in actions(**few, origin=elsewhere)["larger_test"].command
    moved = trained(in_epochs=True, frozen=False, augmented=True)
    held_out = two(840, 160, "validation")
    heart = {"shown": two(840, 160), "train": two(1000, 0, "train"), "validation": held_out,
             "training": moved}  # fmt: skip
    frozen = "tellapart train /data/pets --recipe frozen-augmented"
    assert actions(**heart, origin=begun)["freeze"].command == f"{frozen} --from runs/first"
    assert actions(**heart, origin=own)["freeze"].command == frozen  # from before it overfitted


def test_the_worst_class_wants_images() -> None:
    found = actions(shown=metrics([[95, 5, 0], [3, 97, 0], [35, 0, 15]]))
    assert found["more_images"].sentence == (
        "Collect more images of fox, which has 2,000 to train on, like those that it gets wrong."
    )
    assert "more_images" not in actions(shown=two(950, 50))


def test_new_images_get_no_command_that_trains_on_them() -> None:
    found = actions(shown=two(800, 200, "phone"), own=False)
    assert set(found) == {"like_these"} and not found["like_these"].command
    assert ORIGIN.run == "runs/pets"


def measured(doubled: Number, lead: Number, **costs: Number) -> LearningCurve:
    points = tuple(CurvePoint(n, Number(0.9, 0.85, 0.95)) for n in (24, 60, 120))
    rows = tuple(ClassCost(name, cost) for name, cost in costs.items())
    return LearningCurve(150, points, doubled, rows, lead, 10)


def test_the_measured_curve_says_whether_more_images_help_and_of_which_class() -> None:
    unsure = Number(0.0, -0.02, 0.02)
    weak = two(700, 300)  # whose mistakes alone would ask for more images of a class
    found = actions(
        shown=weak,
        curve=measured(Number(0.02, 0.01, 0.03), Number(0.03, 0.01, 0.05),
                       dog=Number(0.04, 0.02, 0.06), cat=Number(0.01, -0.01, 0.03)),
    )  # fmt: skip
    assert found["more_images"].sentence == (
        "The next images should be of 'dog': with half of its training images the mean over "
        "classes falls by 4.0 points (2.0 to 6.0), more than with half of another's. Twice as "
        "many images would probably bring 2.0 points more (1.0 to 3.0)."
    )
    rising = actions(shown=weak, curve=measured(Number(0.02, 0.01, 0.03), unsure, dog=unsure))
    assert rising["more_images"].sentence == (
        "Collect more images. Twice as many images would probably bring 2.0 points more (1.0 to "
        "3.0)."
    )
    flat = measured(Number(0.001, -0.001, 0.003), unsure, dog=unsure)
    assert "more_images" not in actions(shown=weak, curve=flat)


def test_what_was_cross_validated_is_not_asked_for_a_larger_test() -> None:
    shown = replace(two(14, 6), cross_validated=5)
    found = actions(shown=shown)
    assert "every one of the 40 was tested already" in found["larger_test"].sentence
    assert not found["larger_test"].command
    rising = measured(Number(0.02, 0.01, 0.03), Number(0.0, -0.02, 0.02))
    assert "larger_test" not in actions(shown=shown, curve=rising)
