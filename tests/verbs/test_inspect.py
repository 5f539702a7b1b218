"""What a person sees who inspects a folder: sentences, pages, and one line when it cannot be."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart import cli
from tellapart.data.reading import read_table
from tellapart.errors import DataError, RecipeError

sys.path.insert(0, str(Path(__file__).parents[1]))

from pages import most_alike, pictures_of_page

ImageFolder = Callable[..., Path]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tellapart", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def sentences(inspection: ta.verbs.inspect.Inspection) -> dict[str, str]:
    return {found.kind: found.sentence for found in inspection.survey.observations}


# --- what is in the folder ------------------------------------------------------------------


def test_counts_and_facts_on_the_terminal(
    run: Callable[..., tuple[int, str, str]], image_folder: ImageFolder, tmp_path: Path
) -> None:
    root = image_folder(parts={"train": 8, "validation": 4, "test": 3}, size=(60, 30))
    code, out, _ = run("inspect", root, "--out", tmp_path / "out")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["train", "validation", "test"]
    assert lines[1].split() == ["blue", "8", "4", "3"]
    assert lines[3].split() == ["in", "all", "16", "8", "6"]
    assert "sizes       60 x 30, all of them" in out
    assert "shapes      a centre crop would lose more than a fifth of 100.0 % of the images" in out
    assert "formats     JPEG 30" in out
    assert lines[-1] == str(tmp_path / "out")
    assert (tmp_path / "out/report.html").stat().st_size > 10_000


def test_json_holds_the_numbers(
    run: Callable[..., tuple[int, str, str]], image_folder: ImageFolder, tmp_path: Path
) -> None:
    root = image_folder(per_class=6, size=(50, 40))
    Image.new("RGB", (20, 80), "green").save(root / "red/tall.png")
    code, out, _ = run("inspect", root, "--out", tmp_path / "out", "--json")
    assert code == 0
    content = json.loads(out)
    assert content["images"] == 13
    assert content["counts"] == {"unsplit": {"blue": 6, "red": 7}}
    assert content["formats"] == {"JPEG": 12, "PNG": 1}
    assert content["sizes"][0] == {"width": 50, "height": 40, "images": 12}
    # 20 x 80 loses 75 % in a centre crop, 50 x 40 exactly a fifth: not more.
    assert content["crop_loses_a_fifth"] == 1
    assert Path(content["report"]).is_file()
    stored = json.loads((tmp_path / "out/inspection.json").read_text())
    assert stored["counts"] == content["counts"]


def test_the_images_are_not_touched(image_folder: ImageFolder, tmp_path: Path) -> None:
    root = image_folder(per_class=4)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()}
    ta.inspect(root, out=tmp_path / "out")
    assert before == {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*") if p.is_file()
    }


def test_the_page_needs_nothing_else(image_folder: ImageFolder, tmp_path: Path) -> None:
    found = ta.inspect(image_folder(size=(60, 40)), out=tmp_path / "out")
    page = found.report.read_text()
    assert "https://" not in page.replace("https://www.w3.org", "").replace("http://www.w3", "")
    for heading in ("Samples", "Sizes and formats", "The darkest images", "Findings"):
        assert heading in page
    assert {p.name for p in (tmp_path / "out/figures").iterdir()} >= {"counts.svg", "looks.png"}


def test_each_picture_of_the_page_is_the_file_named_below_it(
    image_folder: ImageFolder, tmp_path: Path
) -> None:
    """And the brightness below it is that picture's own."""
    folder = image_folder(per_class=8, size=(60, 40))
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*.*")}
    shown = pictures_of_page(ta.inspect(folder, out=tmp_path / "out").report.read_text("utf-8"))
    for picture in shown:
        assert most_alike(picture.looks, files) == picture.path
        assert picture.true == Path(picture.path).parent.name
    told = {}
    for picture in shown:
        if picture.caption.startswith("brightness "):
            told[picture.path] = float(picture.caption.removeprefix("brightness "))
    assert len(told) == len(files) == 16
    light = {name: np.asarray(Image.open(file).convert("L")).mean() for name, file in files.items()}
    correlation = np.corrcoef([light[name] for name in told], list(told.values()))[0, 1]
    assert correlation > 0.99


# --- sentences that matter --------------------------------------------------------------------


def test_imbalance_and_tiny_classes(image_folder: ImageFolder, tmp_path: Path) -> None:
    root = image_folder(classes=("blue", "red"), per_class=40)
    for file in sorted((root / "blue").iterdir())[10:]:
        file.unlink()
    found = ta.inspect(root, out=tmp_path / "out")
    assert sentences(found)["imbalance"] == (
        "The classes are uneven: 'red' has 40 images, 4.0 times as many as 'blue' (10)."
    )
    advice = next(f.advice for f in found.survey.observations if f.kind == "imbalance")
    assert "right for 80.0 % already" in advice
    assert sentences(found)["tiny_class"] == "1 class with fewer than 20 images: blue (10)."


def test_even_classes_of_good_size_raise_nothing(image_folder: ImageFolder, tmp_path: Path) -> None:
    found = ta.inspect(image_folder(per_class=25, size=(260, 250)), out=tmp_path / "out")
    assert sentences(found) == {}


def test_small_images_are_said(image_folder: ImageFolder, tmp_path: Path) -> None:
    found = ta.inspect(image_folder(per_class=22, size=(40, 40)), out=tmp_path / "out")
    assert sentences(found)["small"].startswith("All 44 images are smaller than the ")
    assert "their shorter side is 40" in sentences(found)["small"]


def test_grey_images_in_a_colour_set(image_folder: ImageFolder, tmp_path: Path) -> None:
    root = image_folder(per_class=20)
    for file in sorted((root / "red").iterdir())[:8]:
        Image.open(file).convert("L").convert("RGB").save(file)  # grey, but stored as colour
    found = ta.inspect(root, out=tmp_path / "out")
    assert sentences(found)["grey_in_colour"] == (
        "8 of 40 images (20.0 %) are grey in a colour set, mostly in 'red' (40.0 % of its images; "
        "'blue' 0.0 %)."
    )
    by_level = {f.kind: f.level for f in found.survey.observations}
    assert by_level["grey_in_colour"] == "warning"


def test_copies_and_leaks_are_found_without_the_audit(
    image_folder: ImageFolder, tmp_path: Path
) -> None:
    root = image_folder(parts={"train": 21, "test": 26})
    shutil.copyfile(root / "train/blue/0000.jpg", root / "test/blue/leak.jpg")
    shutil.copyfile(root / "train/red/0000.jpg", root / "train/blue/wrong.jpg")
    found = ta.inspect(root, out=tmp_path / "out")
    assert sentences(found)["leak"].startswith("1 of 53 test images (1.9 %) is also in train")
    assert "train/blue/wrong.jpg and train/red/0000.jpg" in sentences(found)["two_labels"]
    assert found.survey.observations[0].level == "problem"


def test_files_that_cannot_be_read_are_listed(image_folder: ImageFolder, tmp_path: Path) -> None:
    root = image_folder(per_class=5)
    for number in range(8):  # most of a class: training would refuse, inspecting must not
        (root / f"red/broken{number}.jpg").write_bytes(b"no picture")
    (root / "red/half.jpg").write_bytes((root / "red/0000.jpg").read_bytes()[:400])
    found = ta.inspect(root, out=tmp_path / "out")
    assert sentences(found)["left_out"] == (
        "9 of 19 files left out: 8 holding no image (red/broken0.jpg, ...), "
        "1 cut off (red/half.jpg)."
    )
    assert "red/half.jpg" in found.report.read_text()


def test_wrong_extensions_and_turned_pictures(image_folder: ImageFolder, tmp_path: Path) -> None:
    root = image_folder(per_class=5)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 40), "red").save(root / "red/turned.jpg", exif=turned)
    Image.new("RGB", (30, 40), "red").save(root / "red/really-a-jpeg.png", format="JPEG")
    found = ta.inspect(root, out=tmp_path / "out")
    assert sentences(found)["extension"].endswith("red/really-a-jpeg.png, a JPEG.")
    assert sentences(found)["turned"].startswith("1 of 12 images (8.3 %) is stored turned")


# --- the audit --------------------------------------------------------------------------------


def test_audit_writes_lists_that_training_understands(
    run: Callable[..., tuple[int, str, str]],
    image_folder: ImageFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mean_colours(model, preprocessing, pixels, **_):  # type: ignore[no-untyped-def]
        return pixels.pixels.reshape(1, len(pixels), -1, 3).mean(2).astype(np.float32)

    monkeypatch.setattr("tellapart.engines.features.extract_features", mean_colours)
    root = image_folder(parts={"train": 15, "test": 8}, size=(120, 100))
    shutil.copyfile(root / "train/red/0001.jpg", root / "test/red/leak.jpg")
    Image.new("RGB", (120, 100), (9, 9, 9)).save(root / "train/blue/blank.jpg")
    (root / "train/blue/text.jpg").write_bytes(b"no picture")
    before = sorted(p for p in root.rglob("*"))
    fix, paths = tmp_path / "fix.csv", tmp_path / "paths.txt"
    code, out, _ = run(
        "inspect", root, "--fix", fix, "--quarantine", paths, "--out", tmp_path / "out"
    )
    assert code == 0
    assert "problem     " in out and "test/red/leak.jpg" in out
    listed = set(paths.read_text().splitlines())
    assert {"test/red/leak.jpg", "train/blue/blank.jpg"} <= listed
    assert sorted(p for p in root.rglob("*")) == before
    found = ta.inspect(root, exclude=fix, out=tmp_path / "out")
    assert not listed & set(found.survey.table.paths)
    assert "leak" not in sentences(found)
    # A list of ours may be written again.
    code, _, error = run(
        "inspect", root, "--fix", fix, "--quarantine", paths, "--out", tmp_path / "out"
    )
    assert code == 0, error
    # --json names every finding
    code, out, _ = run("inspect", root, "--audit", "--json", "--out", tmp_path / "out")
    audit = json.loads(out)["audit"]
    assert audit["counts"]["blank"] == 1
    leaks = [set(finding["paths"]) for finding in audit["findings"] if finding["kind"] == "leak"]
    assert {"train/red/0001.jpg", "test/red/leak.jpg"} in leaks
    assert "Everything that the audit found" in (tmp_path / "out/report.html").read_text()


def scenes(root: Path, counts: dict[str, int]) -> Path:
    """So many pictures a class in each part, none like another: tiles of random colour."""
    random = np.random.default_rng(0)
    for part, count in counts.items():
        for name in ("blue", "red"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                tiles = random.integers(0, 255, (6, 6, 3), dtype=np.uint8)
                picture = Image.fromarray(np.kron(tiles, np.ones((16, 16, 1), np.uint8)))
                picture.save(root / part / name / f"{number:02d}.jpg")
    return root


@pytest.fixture
def class_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features by which pictures named ``odd`` look like the other class."""

    def features(model, preprocessing, pixels, **_):  # type: ignore[no-untyped-def]
        table = pixels.table
        looks = [label ^ ("odd" in path) for label, path in zip(table.labels, table.paths,
                                                                strict=True)]  # fmt: skip
        noise = np.random.default_rng(0).normal(0, 0.05, (len(table), 8))
        return (np.eye(2, 8)[looks] + noise).astype(np.float32)[None]

    monkeypatch.setattr("tellapart.engines.features.extract_features", features)


def test_fix_never_takes_doubtful_labels_out_of_what_is_scored(
    run: Callable[..., tuple[int, str, str]], class_numbers: None, tmp_path: Path
) -> None:
    root = scenes(tmp_path / "parts", {"train": 30, "validation": 12, "test": 12})
    for part in ("train", "validation", "test"):
        file = next((root / part / "red").iterdir())
        file.rename(file.with_name(f"odd-{part}.jpg"))
    fix = tmp_path / "fix it.csv"
    code, out, error = run(
        "inspect", root, "--fix", fix, "--out", tmp_path / "out", "--group-by", "([a-z]+)-",
        "--min-images", 2,
    )  # fmt: skip
    assert code == 0, error
    rows = list(csv.DictReader(fix.open(encoding="utf-8")))
    assert [(row["kind"], row["path"]) for row in rows] == [
        ("doubtful_label", "train/red/odd-train.jpg")
    ]
    assert "3 labels are doubtful" in out
    said = "names 1 image to leave out: 1 with a doubtful label, all of them in train."
    assert f"{fix} {said}" in out
    assert "2 doubtful labels outside train are not in it" in out
    command = next(line for line in out.splitlines() if line.startswith("Next: "))
    assert shlex.split(command)[1:] == [
        "tellapart", "train", str(root), "--exclude", str(fix), "--group-by", "([a-z]+)-",
        "--min-images", "2",
    ]  # fmt: skip
    # Images that have no part yet may come into test, too.
    unsplit = scenes(tmp_path / "unsplit", {"": 40})
    file = next((unsplit / "red").iterdir())
    file.rename(file.with_name("odd.jpg"))
    code, out, _ = run("inspect", unsplit, "--fix", fix, "--out", tmp_path / "out2", "--json")
    content = json.loads(out)
    assert content["audit"]["counts"]["doubtful_label"] == 1
    assert content["fix"]["doubtful_left_in"] == 1 and content["fix"]["images"] == 0
    assert content["fix"]["next"] == ""
    assert fix.read_text("utf-8").count("\n") == 1
    assert len(read_table(unsplit, exclude=fix)) == 80, "a list that names nothing is one, too"


def test_fix_says_which_class_it_empties_and_keeps_what_was_left_out_before(
    run: Callable[..., tuple[int, str, str]], class_numbers: None, tmp_path: Path
) -> None:
    root = scenes(tmp_path / "images", {"train": 15, "test": 6})
    for number, file in enumerate(sorted((root / "test/red").iterdir())):
        shutil.copyfile(sorted((root / "train/red").iterdir())[number], file)
    twice = root / "train/blue/again.jpg"
    shutil.copyfile(root / "train/blue/00.jpg", twice)
    (tmp_path / "before.txt").write_text("train/blue/05.jpg\n")
    fix, paths = tmp_path / "fix.csv", tmp_path / "paths.txt"
    code, out, error = run(
        "inspect", root, "--fix", fix, "--quarantine", paths, "--out", tmp_path / "out",
        "--exclude", tmp_path / "before.txt",
    )  # fmt: skip
    assert code == 0, error
    assert (
        f"{fix} and {paths} name 7 images to leave out: 6 also in an earlier part and 1 there "
        "twice, byte for byte."
    ) in out
    assert "Without them class 'red' has no image left in test: look at them first." in out
    assert "class 'blue'" not in out
    for file in (fix, paths):
        left = read_table(root, exclude=file)
        assert "train/blue/05.jpg" not in left.paths, "what was left out before came back"
        assert ("train/blue/again.jpg" in left.paths) != ("train/blue/00.jpg" in left.paths)
        assert not (left.labels[left.parts == "test"] == left.classes.index("red")).any()


# --- samples of augmentation -------------------------------------------------------------------


def test_augmented_sheet_shows_the_picture_and_eight_versions(
    image_folder: ImageFolder, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from tellapart.data.reading import read_table
    from tellapart.pixels.decode import decode
    from tellapart.pixels.preprocessing import Preprocessing
    from tellapart.recipe_reading import load_recipe
    from tellapart.report.augmented import augmented_samples, augmented_sheet

    table = read_table(image_folder(per_class=5))
    rule = Preprocessing(48, 48)
    steps = load_recipe("dogs-cats-augmented").augmentation
    rows, samples = augmented_samples(table, rule, steps, seed=3)
    assert samples.shape == (4, 9, 48, 48, 3)
    assert sorted(table.labels[rows].tolist()) == [0, 0, 1, 1]
    for row, tiles in zip(rows, samples, strict=True):
        assert np.array_equal(tiles[0], decode(table.file(row), rule))
        assert len({tile.tobytes() for tile in tiles}) > 4  # each version has its own draw
    again = augmented_samples(table, rule, steps, seed=3)[1]
    assert np.array_equal(samples, again)
    # 48 pixels are shown as 96, whole multiples: 3 tiles and 2 gaps a grid, two grids a side.
    side = 2 * (3 * 96 + 2 * 2) + 18
    assert augmented_sheet(samples).size == (side, side)


def test_augment_writes_a_picture_and_shows_it(image_folder: ImageFolder, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found = ta.inspect(
        image_folder(per_class=5), augment="dogs-cats-augmented", out=tmp_path / "out"
    )
    assert Image.open(tmp_path / "out/augmented.png").width > 500
    assert "What recipe dogs-cats-augmented makes of training images" in found.report.read_text()


def test_augment_needs_a_recipe_that_augments(image_folder: ImageFolder, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="dogs-cats-vanilla augments nothing"):
        ta.inspect(image_folder(), augment="dogs-cats-vanilla", out=tmp_path / "out")
    with pytest.raises(RecipeError, match="nosuch"):
        ta.inspect(image_folder(), augment="nosuch", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- where the report goes ----------------------------------------------------------------------


def test_the_report_must_not_lie_among_the_images(image_folder: ImageFolder) -> None:
    root = image_folder(per_class=3)
    with pytest.raises(DataError, match="inside the folder that is inspected"):
        ta.inspect(root, out=root / "report")
    assert not (root / "report").exists()


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    image_folder: ImageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file"):
        ta.inspect(image_folder(), out=tmp_path / "file")
    with pytest.raises(DataError, match="is a file"):
        ta.inspect(image_folder(), out=tmp_path / "file/below")
    monkeypatch.setattr("tellapart.verbs.inspect.os.access", lambda *_: False)
    with pytest.raises(DataError, match="cannot be written; choose another place"):
        ta.inspect(image_folder(), out=tmp_path / "locked/out")


# --- hostile folders and archives: one sentence and exit code 2 ---------------------------------


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(zipfile.ZipInfo(name), content, compress_type=zipfile.ZIP_DEFLATED)
    return file


def table_file(folder: Path, text: str) -> Path:
    folder.mkdir()
    Image.new("RGB", (9, 9)).save(folder / "1.png")
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def link_out_of(file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as opened:
        member = zipfile.ZipInfo("a/1.jpg")
        member.external_attr = 0o120777 << 16  # a symbolic link
        opened.writestr(member, "/etc/passwd")
        opened.writestr("b/1.jpg", b"x")
    return file


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda t: t / "gone", "There is no folder or file"),
    "an empty folder": (lambda t: t / "empty", "holds no images"),
    "zip with ../": (
        lambda t: zipped(t / "x.zip", {"a/1.jpg": b"x", "../../evil.jpg": b"x"}),
        "evil.jpg",
    ),
    "zip with an absolute path": (
        lambda t: zipped(t / "x.zip", {"a/1.jpg": b"x", "/etc/evil.jpg": b"x"}),
        "evil.jpg",
    ),
    "zip bomb": (
        lambda t: zipped(t / "x.zip", {"a/1.jpg": b"\0" * 5_000_000, "b/1.jpg": b"x"}),
        "would grow to",
    ),
    "zip with a link": (lambda t: link_out_of(t / "x.zip"), "x.zip"),
    "no zip": (lambda t: table_file(t / "f", "PK").rename(t / "x.zip"), "x.zip"),
    "csv that leaves its root": (
        lambda t: table_file(t / "f", "path,label\n1.png,a\n../../x.jpg,b\n"),
        "leads out of",
    ),
    "csv without labels": (
        lambda t: table_file(t / "f", "path,kind\n1.png,a\n"),
        "has no label column",
    ),
    "a picture instead of a folder": (
        lambda t: table_file(t / "f", "x").with_name("1.png"),
        "is a file; give a folder",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_ends_in_one_sentence(
    name: str,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TELLAPART_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("tellapart.data.archives.RATIO_MATTERS_FROM_BYTES", 2**20)
    (tmp_path / "empty").mkdir()
    make, expected = HOSTILE[name]
    code, out, err = run("inspect", make(tmp_path), "--out", tmp_path / "out")
    said = [line for line in err.splitlines() if line.startswith("tellapart: ")]
    assert code == 2
    assert len(said) == 1 and expected in said[0]
    assert err.rstrip().endswith(said[0])  # nothing, no traceback either, comes after it
    assert out == ""
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.parent.glob("evil*"))


def test_nothing_but_unreadable_files(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "1.jpg").write_bytes(b"no picture at all")
    code, _, err = run("inspect", tmp_path / "x", "--out", tmp_path / "out")
    assert code == 2
    assert "None of the 2 images in" in err


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("option", ["fix", "quarantine"])
def test_a_list_replaces_nothing_but_such_a_list(
    option: str, image_folder: ImageFolder, tmp_path: Path
) -> None:
    root = image_folder(per_class=2)
    picture = next(root.rglob("*.jpg"))
    elsewhere, link, notes = tmp_path / "a.jpg", tmp_path / "link.csv", tmp_path / "notes.txt"
    shutil.copyfile(picture, elsewhere)
    link.symlink_to(picture)
    notes.write_text("a line\nanother\n")
    for file, why in (
        (picture, "inside the folder"), (root / "new.csv", "inside the folder"),
        (elsewhere, "not overwritten"), (notes, "not overwritten"), (link, "inside the folder"),
        (tmp_path, "is a folder"),
    ):  # fmt: skip
        before = file.read_bytes() if file.is_file() else b""
        with pytest.raises(DataError, match=why):
            ta.inspect(root, **{option: file}, out=tmp_path / "out")
        assert not before or file.read_bytes() == before
    assert not (tmp_path / "out").exists()
    assert not (root / "new.csv").exists()


def test_two_lists_want_two_files(image_folder: ImageFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name one file"):
        ta.inspect(image_folder(per_class=2), fix=tmp_path / "a", quarantine=tmp_path / "a")


@pytest.mark.skipif(os.name != "posix", reason="such names cannot be written there")
def test_hostile_names_and_files_among_good_ones(
    run: Callable[..., tuple[int, str, str]], image_folder: ImageFolder, tmp_path: Path
) -> None:
    root = image_folder(per_class=6)
    script = "<script>alert(1)<"  # with the slash of the end tag it would be a folder below
    (root / "blue").rename(root / script)
    (root / script / "0000.jpg").rename(root / script / "new\nline\x1b[31m.jpg")
    (root / "red/bomb.png").write_bytes(png_that_claims(100_000, 100_000))
    (root / "red/loop").symlink_to(root / "red", target_is_directory=True)
    (root / "Thumbs.db").write_bytes(b"x")
    code, out, err = run("inspect", root, "--out", tmp_path / "out")
    assert code == 0
    assert "\x1b[31m" not in out + err
    assert "1 too large (red/bomb.png)" in out
    page = (tmp_path / "out/report.html").read_text()
    assert script not in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    for figure in (tmp_path / "out/figures").glob("*.svg"):
        assert "<script>" not in figure.read_text()
    assert json.loads((tmp_path / "out/inspection.json").read_text())["images"] == 12


def test_a_class_called_dot_dot_is_only_a_name(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    rows = []
    for number in range(8):
        Image.new("RGB", (30, 30), (30 * number, 9, 9)).save(tmp_path / f"x/{number}.png")
        rows.append(f"{number}.png,{'..' if number % 2 else 'a'}")
    (tmp_path / "x/t.csv").write_text("path,label\n" + "\n".join(rows))
    found = ta.inspect(tmp_path / "x/t.csv", out=tmp_path / "out")
    assert found.survey.table.classes == ("..", "a")
    assert found.report.is_file()


@pytest.mark.filterwarnings("ignore")
def test_a_cache_that_cannot_be_written(
    run: Callable[..., tuple[int, str, str]],
    image_folder: ImageFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TELLAPART_CACHE_DIR", str(tmp_path / "file/cache"))
    code, _, _ = run("inspect", image_folder(per_class=4), "--out", tmp_path / "out")
    assert code == 0


def test_two_folders_of_one_name_get_a_report_each(
    image_folder: ImageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = image_folder(per_class=4), image_folder(per_class=5)
    monkeypatch.chdir(tmp_path)
    places = [ta.inspect(folder).folder for folder in (first, second, first)]
    assert [str(place) for place in places] == [
        "runs/inspect-photos",
        "runs/inspect-photos-2",
        "runs/inspect-photos",
    ]
    texts = [place.joinpath("inspection.json").read_text("utf-8") for place in places]
    assert texts[0] == texts[2] != texts[1]
