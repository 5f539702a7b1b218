"""What the audit says of planted faults, and what it does not say of sound images."""

from __future__ import annotations

import csv
import hashlib
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from tellapart.audit.checks import AuditReport, audit
from tellapart.audit.finding import Finding
from tellapart.audit.labels import _folds, doubtful_labels, out_of_fold_probabilities
from tellapart.data.pixels import PixelCache, load_pixels
from tellapart.data.reading import read_table
from tellapart.pixels.preprocessing import Preprocessing

RULE = Preprocessing(64, 64)


def scene(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A sharp picture of its own: rectangles of random colour, and a little noise."""
    random = np.random.default_rng(seed)
    width, height = size
    picture = np.full((height, width, 3), random.uniform(60, 200, 3))
    for _ in range(14):
        left, top = random.integers(0, width - 8), random.integers(0, height - 8)
        right = left + random.integers(8, max(9, width // 2))
        bottom = top + random.integers(8, max(9, height // 2))
        picture[top:bottom, left:right] = random.uniform(0, 255, 3)
    picture += random.normal(0, 6, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def save(image: Image.Image, file: Path, **options: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 sound pictures in train and 12 in test, of two classes."""
    folder = tmp_path / "photos"
    for number in range(42):
        part = "train" if number < 30 else "test"
        save(scene(number), folder / part / ("cat", "dog")[number % 2] / f"{number:02d}.jpg")
    return folder


def load(folder: Path) -> PixelCache:
    return load_pixels(read_table(folder), RULE)


def found(report: AuditReport, kind: str) -> list[tuple[str, ...]]:
    return [finding.paths for finding in report.findings if finding.kind == kind]


def test_sound_images_give_no_finding(root: Path) -> None:
    assert audit(load(root)).findings == ()


def test_copies_are_told_once_as_the_worst_that_they_are(root: Path) -> None:
    content = (root / "train/cat/00.jpg").read_bytes()
    (root / "train/cat/copy.jpg").write_bytes(content)
    (root / "test/dog/leak.jpg").write_bytes((root / "train/dog/01.jpg").read_bytes())
    (root / "train/dog/other.jpg").write_bytes((root / "train/cat/02.jpg").read_bytes())
    save(scene(4).crop((2, 1, 95, 94)), root / "train/cat/near.jpg", quality=60)
    report = audit(load(root))
    assert report.counts() == {
        "leak": 1,
        "two_labels": 1,
        "exact_duplicate": 1,
        "near_duplicate": 1,
    }
    assert found(report, "exact_duplicate") == [("train/cat/00.jpg", "train/cat/copy.jpg")]
    assert found(report, "near_duplicate") == [("train/cat/04.jpg", "train/cat/near.jpg")]

    leak, two_labels = report.findings[:2]
    assert set(leak.paths) == {"train/dog/01.jpg", "test/dog/leak.jpg"}
    assert leak.exclude == ("test/dog/leak.jpg",)
    assert leak.sentence == (
        "The same picture, byte for byte, is in train (train/dog/01.jpg) and in test "
        "(test/dog/leak.jpg)."
    )
    assert two_labels.sentence == (
        "The same picture, byte for byte, is there as cat (train/cat/02.jpg), and as dog "
        "(train/dog/other.jpg)."
    )
    assert set(two_labels.exclude) == set(two_labels.paths)


def test_copies_within_train_are_taken_out_also_where_test_has_one(root: Path) -> None:
    """Byte for byte twice in train and once in test: one of the three is to stay."""
    content = (root / "train/cat/00.jpg").read_bytes()
    (root / "train/cat/twice.jpg").write_bytes(content)
    (root / "test/cat/leak.jpg").write_bytes(content)
    report = audit(load(root))
    assert set(report.excluded()) == {"test/cat/leak.jpg", "train/cat/twice.jpg"}
    assert found(report, "exact_duplicate") == [("train/cat/00.jpg", "train/cat/twice.jpg")]
    assert len(found(report, "leak")) == 1


def test_a_changed_picture_in_another_part_is_a_leak(root: Path) -> None:
    save(scene(4).crop((2, 1, 95, 94)), root / "test/cat/near.jpg", quality=60)
    report = audit(load(root))
    assert report.counts() == {"leak": 1}
    assert "slightly changed" in report.findings[0].sentence
    assert report.findings[0].exclude == ("test/cat/near.jpg",)


def test_a_mirrored_picture_in_another_part_is_a_leak_and_called_so(root: Path) -> None:
    mirrored = scene(4).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save(mirrored, root / "test/cat/mirrored.jpg", quality=60)
    report = audit(load(root))
    assert report.counts() == {"leak": 1}
    assert report.findings[0].sentence == (
        "The same picture, mirrored, is in train (train/cat/04.jpg) and in test "
        "(test/cat/mirrored.jpg)."
    )


def test_a_changed_picture_under_another_label_is_for_a_person_to_judge(root: Path) -> None:
    save(scene(4).crop((2, 1, 95, 94)), root / "train/dog/near.jpg", quality=60)
    report = audit(load(root))
    assert report.counts() == {"two_labels": 1}
    assert report.findings[0].advice.startswith("If they show the same thing")
    assert report.excluded() == ()


def test_many_look_alikes_are_told_once_and_nothing_is_claimed_of_them(root: Path) -> None:
    """As solar cells: one layout, and little that differs."""
    random = np.random.default_rng(0)
    layout = np.asarray(scene(99)).astype(float)
    for number in range(24):
        part, name = ("train", "test")[number % 2], ("cat", "dog")[number % 3 == 0]
        cell = np.clip(layout + random.normal(0, 9, layout.shape), 0, 255).astype(np.uint8)
        save(Image.fromarray(cell), root / part / name / f"cell{number:02d}.png")
    copy = root / "test/cat/copy.png"
    copy.write_bytes((root / "train/cat/cell02.png").read_bytes())
    report = audit(load(root))
    alike = [f for f in report.findings if f.kind == "near_duplicate"]
    assert [len(f.paths) for f in alike] == [25]
    assert alike[0].exclude == ()
    assert alike[0].sentence.startswith("25 images of test and train look so alike")
    # The equal files among them are a leak all the same.
    assert found(report, "leak") == [("test/cat/copy.png", "train/cat/cell02.png")]
    assert found(report, "two_labels") == []


def test_files_that_were_left_out_are_findings(root: Path) -> None:
    whole = (root / "train/cat/00.jpg").read_bytes()
    (root / "train/cat/half.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "train/cat/text.jpg").write_text("not a picture")
    report = audit(load(root))
    assert found(report, "truncated") == [("train/cat/half.jpg",)]
    assert found(report, "not_an_image") == [("train/cat/text.jpg",)]


def test_pictures_in_which_little_is_to_be_seen(root: Path) -> None:
    folder = root / "train/cat"
    noise = np.random.default_rng(0).normal(200, 2, (96, 96, 3)).astype(np.uint8)
    save(Image.fromarray(noise), folder / "blank.png")
    save(scene(50).point(lambda v: v // 12), folder / "dark.png")
    save(scene(51).point(lambda v: 235 + v // 13), folder / "bright.png")
    save(scene(52).filter(ImageFilter.GaussianBlur(14)), folder / "blurred.png")
    save(scene(53, (700, 96)), folder / "wide.png")
    report = audit(load(root))
    assert report.counts() == {"blank": 1, "dark": 1, "bright": 1, "blurry": 1, "odd_size": 1}
    for kind, name in (
        ("blank", "blank"),
        ("dark", "dark"),
        ("bright", "bright"),
        ("blurry", "blurred"),
        ("odd_size", "wide"),
    ):
        assert found(report, kind) == [(f"train/cat/{name}.png",)]
    by_kind = {finding.kind: finding for finding in report.findings}
    assert "700 x 96 pixels; the median is 96 x 96." in by_kind["odd_size"].sentence
    assert by_kind["blank"].exclude == ("train/cat/blank.png",)
    assert by_kind["dark"].exclude == ()


def _shortcut_folder(root: Path, kind: str) -> Path:
    for number in range(40):
        is_dog = number % 2 == 1
        image, name = scene(number), f"{number:02d}.jpg"
        if kind == "size" and is_dog:
            image = image.resize((80, 80))
        if kind == "border" and is_dog:
            image = ImageOps.expand(image.crop((8, 8, 88, 88)), 8, fill=(0, 0, 0))
        if kind == "mode" and is_dog:
            image = image.convert("L")
        if kind == "format" and is_dog:
            name = f"{number:02d}.png"
        save(image, root / ("cat", "dog")[is_dog] / name)
    return root


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("size", "All images of dog are 80 x 80 pixels, and no others are."),
        ("border", "All images of dog are with a black border, and no others are."),
        ("mode", "All images of dog are stored in grey, and no others are."),
        ("format", "All images of dog are PNG files, and no others are."),
    ],
)
def test_shortcuts(kind: str, sentence: str, tmp_path: Path) -> None:
    report = audit(load(_shortcut_folder(tmp_path / kind, kind)))
    assert set(report.counts()) == {"shortcut"}
    assert sentence in [finding.sentence for finding in report.findings]


def test_a_property_that_all_classes_share_is_no_shortcut(tmp_path: Path) -> None:
    assert audit(load(_shortcut_folder(tmp_path / "none", "none"))).findings == ()


# --- labels ------------------------------------------------------------------------------------


def _clusters(
    num_classes: int = 3, each: int = 60, spread: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    """Features in clusters, one a class, and their labels."""
    random = np.random.default_rng(0)
    labels = np.arange(num_classes * each) % num_classes
    centres = 2.0 * np.eye(num_classes, 8)
    features = centres[labels] + random.normal(0, spread, (len(labels), 8))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), labels


@pytest.mark.parametrize("spread", [0.4, 0.8, 1.2])
def test_confident_learning_agrees_with_cleanlab(spread: float) -> None:
    find_label_issues = pytest.importorskip("cleanlab.filter").find_label_issues
    features, labels = _clusters(spread=spread)
    labels[:12] = (labels[:12] + 1) % 3
    probabilities = out_of_fold_probabilities(features, labels, 3)
    expected = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    rows, _ = doubtful_labels(labels, probabilities, confident=1.0, odds=1.0)
    assert sorted(rows) == np.flatnonzero(expected).tolist()
    assert len(rows) >= 6


def test_doubtful_labels_and_what_they_should_be() -> None:
    features, labels = _clusters()
    right = labels.copy()
    labels[:12] = (labels[:12] + 1) % 3
    probabilities = out_of_fold_probabilities(features, labels, 3)
    rows, suggested = doubtful_labels(labels, probabilities, odds=4.0)
    assert set(range(12)) <= set(rows.tolist())
    assert len(rows) <= 15
    of_planted = rows < 12
    assert np.array_equal(suggested[of_planted], right[rows[of_planted]])


def test_a_hand_worked_case() -> None:
    """Class averages: of a (.9 x 5 + .2) / 6 = .783, of b .8; both under the bound of .9."""
    probabilities = np.array([[0.9, 0.1]] * 5 + [[0.2, 0.8]] + [[0.2, 0.8]] * 5)
    labels = np.array([0] * 6 + [1] * 5)
    rows, suggested = doubtful_labels(labels, probabilities, odds=4.0)
    assert (rows.tolist(), suggested.tolist()) == ([5], [1])
    assert doubtful_labels(labels, probabilities, odds=4.1)[0].tolist() == []
    # One error in eleven: the odds must be 200 / 11 = 18.2.
    assert doubtful_labels(labels, probabilities)[0].tolist() == []
    probabilities[5] = (0.05, 0.95)
    assert doubtful_labels(labels, probabilities)[0].tolist() == [5]
    # A little less sure of b than of b's own images on average: no finding.
    probabilities[5] = (0.21, 0.79)
    assert doubtful_labels(labels, probabilities, odds=1.0)[0].tolist() == []


def test_a_label_that_is_the_likeliest_is_not_doubted() -> None:
    """.4 is as sure of b as b's own images are, but .6 for a is more."""
    probabilities = np.array([[0.95, 0.05]] * 5 + [[0.6, 0.4]] + [[0.65, 0.35]] * 5)
    labels = np.array([0] * 6 + [1] * 5)
    assert doubtful_labels(labels, probabilities, odds=0.5)[0].tolist() == []


def test_copies_are_held_out_together() -> None:
    labels = np.arange(400) % 2
    groups = np.arange(400) // 4
    folds = _folds(labels, groups, seed=0)
    for group in range(100):
        assert len(set(folds[groups == group])) == 1
    assert np.bincount(folds).tolist() == [80] * 5


def test_folds_have_their_share_of_every_class() -> None:
    labels = np.array([0] * 25 + [1] * 50 + [2] * 5)
    folds = _folds(labels, None, seed=3)
    for fold in range(5):
        assert np.bincount(labels[folds == fold]).tolist() == [5, 10, 1]


def test_probabilities_are_of_models_that_never_saw_the_image() -> None:
    """Features that name the image and say nothing of the class: no better than chance."""
    labels = np.arange(60) % 2
    probabilities = out_of_fold_probabilities(np.eye(60, dtype=np.float32), labels, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert np.abs(probabilities - 0.5).max() < 0.1


def test_the_audit_names_doubtful_labels_and_outliers(root: Path) -> None:
    cache = load(root)
    random = np.random.default_rng(0)
    labels = cache.table.labels
    features = (np.eye(2, 16)[labels] * 3 + random.normal(0, 0.4, (42, 16))).astype(np.float32)
    features[5] = np.eye(2, 16)[1 - labels[5]] * 3
    features[20] = np.eye(16)[9] * 9
    report = audit(cache, features)
    assert found(report, "doubtful_label") == [(cache.table.paths[5],)]
    assert found(report, "outlier") == [(cache.table.paths[20],)]
    wrong = next(f for f in report.findings if f.kind == "doubtful_label")
    assert wrong.suggested == cache.table.classes[1 - labels[5]]
    assert f"is labelled {wrong.classes[0]} but looks like {wrong.suggested}" in wrong.sentence


def test_too_few_rows_of_features_are_refused(root: Path) -> None:
    cache = load(root)
    with pytest.raises(ValueError, match="features has 41 rows for 42 images"):
        audit(cache, np.zeros((41, 4), np.float32))


# --- the list ------------------------------------------------------------------------------------


def test_the_list_is_what_exclude_reads_and_no_image_changes(root: Path, tmp_path: Path) -> None:
    odd_name = root / 'train/cat/a, "b".jpg'
    odd_name.write_bytes((root / "train/cat/00.jpg").read_bytes())
    (root / "test/dog/leak.jpg").write_bytes((root / "train/dog/01.jpg").read_bytes())
    files = sorted(p for p in root.rglob("*") if p.is_file())
    before = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
    cache = load(root)
    report = audit(cache)
    report.write_fix_list(tmp_path / "list.csv")

    rows = list(csv.DictReader(StringIO((tmp_path / "list.csv").read_text("utf-8"))))
    assert [row["path"] for row in rows] == list(report.excluded())
    assert [(row["kind"], row["label"]) for row in rows] == [
        ("leak", "dog"),
        ("exact_duplicate", "cat"),
    ]
    left = read_table(root, exclude=tmp_path / "list.csv")
    assert len(left) == len(cache) - 2
    assert set(cache.table.paths) - set(left.paths) == set(report.excluded())
    assert [hashlib.sha256(p.read_bytes()).hexdigest() for p in files] == before


def test_the_list_names_each_image_once() -> None:
    def one(kind: str) -> Finding:
        return Finding(
            kind, ("a.jpg",), ("cat",), ("train",), 0.5, f"It is {kind}.", "", ("a.jpg",)
        )

    report = AuditReport((one("leak"), one("doubtful_label")), 1)
    assert report.fix_list() == (
        "path,kind,reason,label,suggested_label,score\na.jpg,leak,It is leak.,cat,,0.5000\n"
    )
