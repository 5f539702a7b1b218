"""A source: one name, absolute paths, and one way to table and pixels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.reading import read_table
from tellapart.data.source import Source
from tellapart.errors import RunError
from tellapart.machine import describe_machine
from tellapart.pixels.preprocessing import Preprocessing
from tellapart.recipe_reading import load_recipe
from tellapart.run import Run, create_run
from tellapart.run_info import COMPLETE, FORMAT, DataInfo, RunInfo
from tellapart.training.auto import typical_side

RULE = Preprocessing(64, 64)


def test_paths_are_absolute_from_where_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    source = Source(Path("photos"), exclude=Path("../bad.csv"), root=Path())
    monkeypatch.chdir(tmp_path)
    assert source.folder == tmp_path / "work" / "photos"
    assert source.exclude == (tmp_path / "bad.csv").resolve()
    assert source.root == tmp_path / "work"


def test_one_name_for_folders_tables_and_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos v1.2").mkdir()
    (tmp_path / "birds.zip").touch()
    names = {
        "photos v1.2": "photos v1.2",  # a folder's name has no ending
        "birds.zip": "birds",
        "gone.csv": "gone",
        "gone v1.2": "gone v1.2",
    }
    for given, name in names.items():
        assert Source(tmp_path / given).display_name == name
    monkeypatch.chdir(tmp_path / "photos v1.2")
    assert Source(Path()).display_name == "photos v1.2"
    assert Source(Path("..")).display_name == tmp_path.name


def test_a_linked_table_is_read_from_where_the_link_lies(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Its paths start beside the link, as they do where the table is a file."""
    root = image_folder(per_class=2)
    (tmp_path / "list.csv").write_text(
        "path,label\n" + "".join(f"{c}/{i:04d}.jpg,{c}\n" for c in ("red", "blue") for i in (0, 1))
    )
    (root / "link.csv").symlink_to(tmp_path / "list.csv")
    assert len(Source(root / "link.csv").read()) == 4


def test_reads_what_read_table_reads(image_folder: Callable[..., Path]) -> None:
    root = image_folder(parts={"train": 3, "test": 2})
    found = Source(root, classes=("red", "blue"), group_by="folder").read()
    expected = read_table(root, classes=("red", "blue"), group_by="folder")
    assert (found.paths, found.classes) == (expected.paths, expected.classes)
    assert found.groups is not None and expected.groups is not None
    assert found.groups.tolist() == expected.groups.tolist()


def test_near_duplicates_come_with_the_pixels(image_folder: Callable[..., Path]) -> None:
    root = image_folder(per_class=4, size=(96, 96))
    with Image.open(root / "red/0000.jpg") as picture:
        picture.resize((80, 80)).save(root / "red/again.png")
    source = Source(root, group_by="near-duplicates")
    table = source.read()
    assert table.groups is None
    groups = source.pixels(table, RULE).table.groups
    assert groups is not None
    of = dict(zip(table.paths, groups.tolist(), strict=True))
    assert of["red/0000.jpg"] == of["red/again.png"]
    assert len(set(of.values())) == 8
    assert source.pixels(table, RULE, group=False).table.groups is None
    plain = Source(root).pixels(table, RULE)
    assert np.array_equal(plain.pixels, source.pixels(table, RULE).pixels)


def made_run(folder: Path, source: dict[str, object], data_source: str = "") -> Run:
    info = RunInfo(
        format=FORMAT, status=COMPLETE, tellapart="0.1.0", created="", command="",
        classes=("a", "b"), preprocessing={}, source=source,
        data=DataInfo(root="", fingerprint="", images=0, counts={}, source=data_source),
        seed=0, device="cpu", machine=describe_machine("cpu"),
    )  # fmt: skip
    return create_run(folder, load_recipe("cifar-baseline-sgd"), info)


def test_a_run_gives_back_the_source_that_it_stored(tmp_path: Path) -> None:
    source = Source(
        tmp_path / "t.csv", classes=("b", "a"), train=("x", "y"), group_by="patient",
        exclude=tmp_path / "bad.csv", root=tmp_path, ignore_unknown=True, path_column="file",
    )  # fmt: skip
    run = made_run(tmp_path / "run", source.to_dict())
    assert Run(run.path).source == source


def test_older_runs_leave_the_rest_to_their_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stored the folder as it was given, and its absolute path beside it."""
    stored = {"folder": "photos", "classes": [], "group_by": None, "exclude": None, "root": None,
              "ignore_unknown": False}  # fmt: skip
    run = made_run(tmp_path / "run", stored, data_source="/data/photos")
    monkeypatch.chdir(tmp_path)
    found = run.source
    settings = load_recipe("cifar-baseline-sgd").data
    assert found.folder == Path("/data/photos")
    assert found.train == settings.train_folders != ()


def test_a_run_that_does_not_say_where_its_images_are(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", {"classes": ["a", "b"]})
    assert json.loads((run.path / "run.json").read_text())["source"] == {"classes": ["a", "b"]}
    with pytest.raises(RunError, match=r"run.json does not say where its images are.*'folder'"):
        _ = run.source


def test_sizes_of_a_zip_are_told_by_all_of_its_files_though_they_are_deleted(
    image_folder: Callable[..., Path], fresh_cache: Path
) -> None:
    """The size of a first answer would be another, without a word."""
    folder = image_folder(per_class=2)
    source = Source(Path(shutil.make_archive(str(folder), "zip", folder)))
    table = source.read()
    right = typical_side(table)
    assert right > 0
    tried: list[int] = []

    def deleted_once() -> int:
        if not tried:
            shutil.rmtree(table.root)
        tried.append(typical_side(table))
        return tried[-1]

    assert source.with_files(deleted_once) == right
    assert tried == [0, right]
    assert Source(folder).with_files(lambda: 3) == 3
