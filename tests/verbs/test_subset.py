"""``tellapart subset`` from the command line; the choosing itself is tested with its module."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tellapart as ta
from tellapart import cli
from tellapart.data.reading import read_table

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tellapart", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """One folder of files named class.number.jpg, as Kaggle's Dogs vs. Cats comes."""
    (tmp_path / "all").mkdir()
    for name in ("cat", "dog"):
        for number in range(12):
            (tmp_path / f"all/{name}.{number}.jpg").write_text(f"{name} {number}")
    return tmp_path / "all"


def test_a_subset_that_training_can_read(run: Run, numbered: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    code, said, _ = run("subset", numbered, out, "--train", 6, "--validation", 2, "--test", 4)
    assert code == 0
    lines = said.splitlines()
    assert lines[0].split() == ["train", "validation", "test"]
    assert lines[1].split() == ["cat", "6", "2", "4"]
    assert lines[3].split() == ["in", "all", "12", "4", "8"]
    assert lines[-1] == str(out)
    table = read_table(out)
    assert table.classes == ("cat", "dog")
    assert {part: int((table.parts == part).sum()) for part in ("train", "validation", "test")} == {
        "train": 12,
        "validation": 4,
        "test": 8,
    }


def test_json_order_seed_and_links(run: Run, numbered: Path, tmp_path: Path) -> None:
    (numbered / "cat.12.jpg").write_text("cat 0")  # the same picture again
    options = ("--train", 12, "--validation", 0, "--test", 0, "--order", "random", "--json")
    code, said, _ = run("subset", numbered, tmp_path / "one", *options, "--seed", 5, "--link")
    assert code == 0
    content = json.loads(said)
    assert content["counts"] == {"train": {"cat": 12, "dog": 12}}
    assert all(p.is_symlink() for p in (tmp_path / "one/train/cat").iterdir())
    assert len({p.read_text() for p in (tmp_path / "one/train/cat").iterdir()}) == 12
    for entry in content["skipped"]:
        assert entry["path"] in ("cat.0.jpg", "cat.12.jpg")


def test_too_few_images_is_one_sentence(run: Run, numbered: Path, tmp_path: Path) -> None:
    code, said, err = run("subset", numbered, tmp_path / "out", "--train", 50)
    assert code == 2
    assert said == ""
    assert "tellapart: Too few images" in err and "'cat' has 12 of" in err
    assert not (tmp_path / "out").exists()


def test_an_order_that_does_not_exist(run: Run, numbered: Path, tmp_path: Path) -> None:
    code, _, err = run("subset", numbered, tmp_path / "out", "--order", "best")
    assert code == 2
    assert "--order is sorted or random; received 'best'" in err


def test_the_same_in_python(numbered: Path, tmp_path: Path) -> None:
    made = ta.subset(numbered, tmp_path / "out", train=3, validation=0, test=2)
    assert made.counts == {"train": {"cat": 3, "dog": 3}, "test": {"cat": 2, "dog": 2}}
