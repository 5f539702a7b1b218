"""What a service is told on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.errors import TellapartError
from tellapart.service.settings import Limits, read_limits, read_token, served_runs


def test_runs_go_by_their_folder_or_the_name_that_is_given(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    runs = served_runs([tmp_path / "pets", f"old={tmp_path / 'x' / 'pets'}", odd])
    assert [(run.name, run.path) for run in runs] == [
        ("pets", tmp_path / "pets"), ("old", tmp_path / "x" / "pets"), ("a=b", odd),
    ]  # fmt: skip


@pytest.mark.parametrize("given", [[], ["a/pets", "b/pets"]])
def test_no_run_and_two_of_one_name_are_a_sentence(given: list[str]) -> None:
    with pytest.raises(TellapartError, match="tellapart serve"):
        served_runs(given)


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert read_token(file) == "0123456789abcdef"


@pytest.mark.parametrize("text", ["", "short\n", "two words that are long enough", "ä" * 20])
def test_what_is_no_token_is_a_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text, "utf-8")
    with pytest.raises(TellapartError, match="openssl rand"):
        read_token(file)
    with pytest.raises(TellapartError, match="cannot be read"):
        read_token(tmp_path / "absent")


def test_limits_are_laid_over_the_usual_ones() -> None:
    limits = read_limits(["images=8", "seconds=2.5"])
    assert (limits.images, limits.seconds, limits.pixels) == (8, 2.5, Limits().pixels)


@pytest.mark.parametrize(
    ("text", "word"),
    [("imags=8", "Did you mean 'images'"), ("images", "above 0"), ("images=x", "above 0"),
     ("images=0", "above 0"), ("seconds=nan", "above 0"), ("pixels=1.5", "above 0")],
)  # fmt: skip
def test_what_is_no_limit_is_a_sentence(text: str, word: str) -> None:
    with pytest.raises(TellapartError, match=word):
        read_limits([text])
