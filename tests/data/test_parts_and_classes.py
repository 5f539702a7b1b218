"""Folders of parts, sites, runs and masks are not classes; odd class names are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.data.class_names import notes_on_names, similar_key
from tellapart.data.part_names import part_of_name
from tellapart.data.reading import read_table, read_unlabelled
from tellapart.data.table import ImageTable
from tellapart.errors import DataError


def put(root: Path, *paths: str, content: bytes = b"picture") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def parts_of(table: ImageTable) -> dict[str, str]:
    return dict(zip(table.paths, table.parts.tolist(), strict=True))


# --- parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((n, "train") for n in ("train", "TRAIN", "Train_data", "training_set", "seg_train",
                                 "train_images", "trainval", "train-1", "trainset", "TrainData",
                                 "train2017", "images_train", "Training Images", "train (1)")),
        *((n, "validation") for n in ("validate", "dev", "Dev_set", "val2017",
                                       "valid", "val_set", "Valid-Data", "validset")),
        *((n, "test") for n in ("eval", "evaluation", "PublicTest", "test_set",
                                 "seg_test", "testing_data", "Test", "test-images")),
        *((n, None) for n in ("trains", "contest", "latest", "tram", "training shoes", "value",
                              "seg_pred", "train\u00e9", "model train", "valley", "testimony")),
    ],
)  # fmt: skip
def test_names_of_parts(name: str, part: str | None) -> None:
    assert part_of_name(name) == part


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("train_images", "test_images"),
        ("Train_data", "Test_data"),
        ("trainval", "test"),
        ("train-1", "val2017"),
        ("chest_xray_train", "chest_xray_test"),
        ("flowers-training", "flowers-validation"),
    ],
)
def test_part_folders_by_pattern(tmp_path: Path, train: str, test: str) -> None:
    for part in (train, test):
        put(tmp_path, f"{part}/a/1.jpg", f"{part}/b/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("a", "b")
    held_out = "validation" if "val" in test else "test"
    assert parts_of(table)[f"{train}/a/1.jpg"] == "train"
    assert parts_of(table)[f"{test}/b/1.jpg"] == held_out


def test_classes_above_parts(tmp_path: Path) -> None:
    put(tmp_path, "cat/train/1.jpg", "cat/test/2.jpg", "dog/Train/1.jpg", "dog/valid/x/3.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert parts_of(table) == {
        "cat/test/2.jpg": "test",
        "cat/train/1.jpg": "train",
        "dog/Train/1.jpg": "train",
        "dog/valid/x/3.jpg": "validation",
    }
    assert "The parts are those of the folders below the classes: Train, test, train, valid." in (
        table.notes
    )


def test_parts_below_some_classes_only(tmp_path: Path) -> None:
    put(tmp_path, "cat/train/1.jpg", "cat/test/2.jpg", "dog/1.jpg")
    with pytest.raises(DataError, match=r"'cat' holds parts \(test, train\).*not so for dog"):
        read_table(tmp_path)


def test_a_vehicle_called_train_is_a_class(tmp_path: Path) -> None:
    put(tmp_path, "bus/1.jpg", "car/1.jpg", "train/1.jpg")
    assert read_table(tmp_path).classes == ("bus", "car", "train")
    for name in ("bus", "car", "train"):
        put(tmp_path / "deep", f"{name}/front/1.jpg", f"{name}/rear/1.jpg")
    with pytest.raises(DataError, match=r"'train' in .* holds the same folders as bus, car, so it"):
        read_table(tmp_path / "deep")
    put(tmp_path / "mixed", "bus/1.jpg", "car/1.jpg", "train/steam/1.jpg", "train/diesel/1.jpg")
    with pytest.raises(DataError, match=r"'train' in .* holds folders, and bus, car beside it"):
        read_table(tmp_path / "mixed")
    put(tmp_path / "more", "unlabelled/1.jpg", "train/cat/1.jpg", "train/dog/1.jpg")
    assert read_table(tmp_path / "more").notes == ("Left out, beside the parts: unlabelled.",)


def test_a_class_called_test_stays_one(tmp_path: Path) -> None:
    put(tmp_path, "control/s1/1.jpg", "test/s2/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("control", "test")
    assert set(table.parts.tolist()) == {""}


def test_flat_part_folders_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "train/cat.1.jpg", "train/dog.1.jpg", "test/1.jpg")
    with pytest.raises(DataError, match=r"test, train .* no class folders.*'tellapart subset"):
        read_table(tmp_path)
    (tmp_path / "labels.csv").write_text(
        "path,label,split\ntrain/cat.1.jpg,cat,train\ntrain/dog.1.jpg,dog,train\n"
        "test/1.jpg,cat,test\n"
    )
    assert read_table(tmp_path).parts.tolist() == ["test", "train", "train"]


def test_names_that_say_class_and_part_stop(tmp_path: Path) -> None:
    put(tmp_path, "cat_train/1.jpg", "cat_test/1.jpg", "dog_train/1.jpg", "dog_test/1.jpg")
    with pytest.raises(DataError, match=r"cat_test, .* say class and part at once"):
        read_table(tmp_path)


# --- sites, years, folds ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "tops", [("siteA", "siteB"), ("fold1", "fold2", "fold10"), ("2019", "2020"), ("left", "right")]
)
def test_folders_above_the_same_class_names_stop(tmp_path: Path, tops: tuple[str, ...]) -> None:
    for top in tops:
        put(tmp_path, f"{top}/cat/1.jpg", f"{top}/dog/1.jpg")
    with pytest.raises(DataError) as raised:
        read_table(tmp_path)
    text = str(raised.value)
    assert f"The folders {', '.join(tops)} in {tmp_path} all hold the same names (cat, dog)" in text
    assert f"--set data.train_folders=[{tops[0]}] --set data.test_folders=[{tops[1]}]" in text
    assert f"--classes {','.join(tops)}." in text
    # Each of the three ways out works.
    assert read_table(tmp_path / tops[0]).classes == ("cat", "dog")
    table = read_table(tmp_path, train=(tops[0],), test=(tops[1],))
    assert table.classes == ("cat", "dog")
    assert table.parts.tolist() == ["train"] * 2 + ["test"] * 2
    assert read_table(tmp_path, classes=tops).classes == tops


def test_sites_with_a_folder_between_and_inside_a_part(tmp_path: Path) -> None:
    for site in ("amazon", "dslr"):
        put(tmp_path / "o", f"{site}/pictures/mug/1.jpg", f"{site}/pictures/pen/1.jpg")
        put(tmp_path / "p", f"train/{site}/mug/1.jpg", f"train/{site}/pen/1.jpg")
    with pytest.raises(DataError, match=r"amazon, dslr .* the same names \(mug, pen\)"):
        read_table(tmp_path / "o")
    with pytest.raises(DataError, match=r"train/amazon, train/dslr .*--classes amazon,dslr"):
        read_table(tmp_path / "p")


def test_folders_that_share_some_names_are_classes_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path, "cat/indoor/1.jpg", "cat/outdoor/1.jpg", "dog/indoor/1.jpg", "dog/outdoor/1.jpg")
    put(tmp_path, "dog/garden/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert table.notes[0].startswith("The folders cat, dog are taken for the classes")


def test_different_folders_below_the_classes_are_fine(tmp_path: Path) -> None:
    put(tmp_path, "cat/tom/1.jpg", "cat/kit/1.jpg", "dog/rex/1.jpg", "dog/bo/1.jpg", "fox/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog", "fox")
    assert table.notes == ()


def test_a_part_that_repeats_its_name_is_looked_through(tmp_path: Path) -> None:
    """As the archives of Kaggle are packed; a part without class folders is left out."""
    for name in ("cat", "dog"):
        put(tmp_path / "a", f"training_set/training_set/{name}/1.jpg")
        put(tmp_path / "a", f"test_set/test_set/{name}/2.jpg")
    put(tmp_path / "a", "seg_pred/seg_pred/9.jpg")
    table = read_table(tmp_path / "a")
    assert table.classes == ("cat", "dog")
    assert parts_of(table)["test_set/test_set/cat/2.jpg"] == "test"
    assert sorted(table.parts.tolist()) == ["test", "test", "train", "train"]
    assert any(note.startswith("Left out, beside the parts: seg_pred") for note in table.notes)
    put(tmp_path / "b", "train/images/cat/1.jpg", "train/images/dog/1.jpg", "test/test/1.jpg")
    table = read_table(tmp_path / "b")
    assert (table.classes, set(table.parts.tolist())) == (("cat", "dog"), {"train"})
    assert any("test (no class folders in it)" in note for note in table.notes)


def test_a_test_part_of_one_class_keeps_its_class(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/x/1.jpg", "train/cat/y/1.jpg", "train/dog/1.jpg")
    put(tmp_path, "test/cat/x/2.jpg", "test/cat/y/2.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    assert table.parts.tolist().count("test") == 2


def test_parts_two_folders_below_the_classes(tmp_path: Path) -> None:
    for kind in ("cat/siam", "cat/coon", "dog/pug"):
        put(tmp_path, f"{kind}/train/1.jpg", f"{kind}/test/2.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "dog")
    for path, part in parts_of(table).items():
        assert part == path.split("/")[2]


def test_sites_that_hold_parts_stop(tmp_path: Path) -> None:
    for site in ("siteA", "siteB"):
        for part in ("train", "test"):
            put(tmp_path, f"{site}/{part}/cat/1.jpg", f"{site}/{part}/dog/1.jpg")
    with pytest.raises(DataError, match=r"siteA, siteB in .* all hold parts \(test, train\)") as e:
        read_table(tmp_path)
    assert "--classes siteA,siteB" in str(e.value)
    assert read_table(tmp_path / "siteA").classes == ("cat", "dog")
    table = read_table(tmp_path, classes=("siteA", "siteB"))
    assert table.classes == ("siteA", "siteB")
    assert set(table.parts.tolist()) == {"train", "test"}


def test_a_site_that_lacks_a_class_stops_as_well(tmp_path: Path) -> None:
    put(tmp_path, *(f"{site}/{name}/1.jpg" for site in ("A", "B") for name in "uvw"), "B/x/1.jpg")
    with pytest.raises(DataError, match=r"A, B in .* all hold mostly the same names \(u, v, w\)"):
        read_table(tmp_path)


def test_a_copy_of_all_beside_the_classes_stops(tmp_path: Path) -> None:
    """Kaggle's brain tumours: ``no``, ``yes`` and ``brain_tumor_dataset/no``, ``.../yes``."""
    put(tmp_path, "no/1.jpg", "yes/1.jpg", "all/no/1.jpg", "all/yes/1.jpg")
    with pytest.raises(DataError, match=r"'all' in .* named as those beside it \(no, yes\)"):
        read_table(tmp_path)
    assert read_table(tmp_path / "all").classes == ("no", "yes")
    assert read_table(tmp_path, classes=("all", "no", "yes")).classes == ("all", "no", "yes")


def test_one_class_says_what_else_its_folder_may_be(tmp_path: Path) -> None:
    put(tmp_path, "data/cat/1.jpg", "data/dog/1.jpg", "code/x.py")
    with pytest.raises(DataError, match=r"one class only .* holds the folders cat, dog: .*data\."):
        read_table(tmp_path)


# --- what tellapart wrote ---------------------------------------------------------------------

RUN = b'{\n "format": 1,\n "status": "running"\n}'
REPORT = b'<!doctype html>\n<head><meta name="generator" content="tellapart">'


def test_runs_and_reports_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", "dog/1.jpg")
    put(tmp_path, "runs/one/run.json", "cat/my run/run.json", content=RUN)
    put(tmp_path, "runs/inspect-x/report.html", "old/report.html", content=REPORT)
    put(tmp_path, "runs/one/figures/curve.png", "cat/my run/figures/curve.png")
    put(tmp_path, "runs/inspect-x/augmented.png", "old/figures/confusion.png")
    table = read_table(tmp_path)
    assert table.paths == ("cat/1.jpg", "dog/1.jpg")
    assert table.notes == ("Passed over, as tellapart wrote them: cat/my run, old, runs.",)
    assert table.problems == ()
    unlabelled = read_unlabelled(tmp_path)
    assert unlabelled.paths == ("cat/1.jpg", "dog/1.jpg")
    assert unlabelled.notes == table.notes


def test_runs_beside_parts_and_beside_a_wrapper(tmp_path: Path) -> None:
    for below in ("train/", "test/"):
        put(tmp_path / "p", f"{below}cat/1.jpg", f"{below}dog/1.jpg")
    put(tmp_path / "w", "photos/cat/1.jpg", "photos/dog/1.jpg")
    for place in ("p", "w"):
        put(tmp_path / place, "runs/one/run.json", content=RUN)
        put(tmp_path / place, "runs/one/figures/curve.png")
        table = read_table(tmp_path / place)
        assert table.classes == ("cat", "dog")
        assert table.notes == ("Passed over, as tellapart wrote it: runs.",)


def test_class_folders_beside_a_report_stay(tmp_path: Path) -> None:
    put(tmp_path, "all/cat/1.jpg", "all/dog/1.jpg", "all/run.json")
    put(tmp_path, "all/report.html", content=REPORT)
    assert read_table(tmp_path).classes == ("cat", "dog")


# --- masks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "masks",
    [
        ("cat/images/1.png", "cat/masks/1.png", "dog/images/1.png", "dog/Masks/1.png"),
        ("cat/1.png", "cat/ground_truth/1.png", "dog/1.png", "dog/ground_truth/1.png"),
        ("cat/1.png", "cat/1_mask.png", "dog/a (1).png", "dog/a (1)_mask_1.png"),
        ("cat/1.jpg", "cat/1_segmentation.png", "dog/2.jpg", "dog/2-GT.png"),
    ],
)
def test_masks_beside_images_are_left_out_and_said(tmp_path: Path, masks: tuple[str, ...]) -> None:
    put(tmp_path, *masks)
    table = read_table(tmp_path)
    assert table.paths == (masks[0], masks[2])
    assert [p.kind for p in table.problems] == ["mask", "mask"]
    assert table.left_out == (
        f"2 of 4 files left out: 2 with a segmentation mask for another image ({masks[1]}, ...)."
    )


def test_masks_above_the_classes_are_looked_past(tmp_path: Path) -> None:
    put(tmp_path, "images/cat/1.png", "images/dog/1.png", "masks/cat/1.png", "masks/dog/1.png")
    assert read_table(tmp_path).paths == ("images/cat/1.png", "images/dog/1.png")


def test_masks_beside_the_classes_are_a_class_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path, "train/images/1.png", "train/masks/2.png", "train/cat/3.png", "test/cat/4.png")
    table = read_table(tmp_path)
    assert table.classes == ("cat", "images", "masks")
    assert table.notes[0].startswith("The folder train/masks is taken for a class")


def test_people_with_masks_are_a_class(tmp_path: Path) -> None:
    put(tmp_path, "mask/ford.jpg", "mask/ford_gt.jpg")
    put(tmp_path, "mask/1_mask.jpg", "mask/2.jpg", "no_mask/1.jpg", "no_mask/masked/3.jpg")
    table = read_table(tmp_path)
    assert len(table) == 6
    assert table.problems == ()


# --- class names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Cat", "cat", True),
        ("cat ", "cat", True),
        ("07", "7", True),
        ("1.0", "1", True),
        ("dog_1", "dog 1", True),
        ("dog-01", "Dog 1", True),
        ("\uff23at", "cat", True),  # full width
        ("Stra\u00dfe", "STRASSE", True),
        ("C++", "C", False),
        ("-1", "1", False),
        ("dog 12", "dog 1 2", False),
        ("cat", "cats", False),
    ],
)
def test_names_that_differ_in_spelling_only(one: str, other: str, alike: bool) -> None:
    assert (similar_key(one) == similar_key(other)) is alike
    assert bool(notes_on_names({one: 3, other: 2})) is alike


def test_similar_class_folders_are_said(tmp_path: Path) -> None:
    put(tmp_path, "Cat/1.jpg", "cat/1.jpg", "dog/1.jpg")
    table = read_table(tmp_path)
    assert table.classes == ("Cat", "cat", "dog")
    (note,) = table.notes
    assert "'Cat' and 'cat'" in note
    assert read_table(tmp_path, classes=("Cat", "cat", "dog")).notes == ()


def test_a_class_spelled_otherwise_in_test_is_pointed_out(tmp_path: Path) -> None:
    put(tmp_path, "train/Cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg")
    with pytest.raises(DataError, match=r"'cat' \(1 image in test\) \(perhaps 'cat' for 'Cat'\)"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["cat|dog", "cat,dog", "cat;dog", "cat dog", "cat_and_dog",
                                  "dog & cat", "cat|bird"])  # fmt: skip
def test_names_that_join_others(name: str) -> None:
    (note,) = notes_on_names({"cat": 4, "dog": 4, name: 2})
    assert f"'{name}' (2 images) joins other class names" in note
    assert "several labels" in note


def test_characters_that_cannot_be_seen_are_said(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", "cat\u200b/1.jpg", "dog/1.jpg")
    assert any("differ only" in note for note in read_table(tmp_path).notes)


def test_names_of_several_words_are_fine() -> None:
    assert notes_on_names({"polar bear": 3, "brown bear": 3, "wild-cat": 1, "cat": 2}) == []
